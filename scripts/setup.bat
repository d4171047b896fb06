@echo off
rem What make does, for those who have no make: the environment .venv, made from requirements-demo.lock.
rem   scripts\setup.bat          make it, unless it is there and current
rem   scripts\setup.bat demo     and write a report on the sample file
rem   scripts\setup.bat lab      and open JupyterLab
rem   scripts\setup.bat test     and run the tests
rem The sample database does not start on Windows itself; docs/quickstart.md says what does.
rem set PYTHON=C:\path\to\python.exe says which Python to use.
setlocal
cd /d "%~dp0.."
if "%~1"=="" goto find
if "%~1"=="demo" goto find
if "%~1"=="lab" goto find
if "%~1"=="test" goto find
echo setup.bat knows demo, lab and test, not %~1. 1>&2
exit /b 2

:find
set "FOUND="
if defined PYTHON goto given
for %%v in (3.13 3.12 3.11 3) do if not defined FOUND call :try py -%%v
if not defined FOUND call :try python
if not defined FOUND goto no_python
goto stamp

:given
call :try "%PYTHON%"
if defined FOUND goto stamp
echo PYTHON is "%PYTHON%", which is no Python 3.11 or newer outside of .venv. 1>&2
exit /b 1

:try
rem That of .venv does not fit: it may have to go.
%* -c "import os, sys; sys.exit(sys.version_info < (3, 11) or sys.prefix.lower() == os.path.abspath('.venv').lower())" >nul 2>nul
if not errorlevel 1 set FOUND=%*
exit /b 0

:stamp
if not exist .venv\.made-from-lock goto make
%FOUND% -c "import os, sys; age = os.path.getmtime; sys.exit(age('requirements-demo.lock') > age('.venv/.made-from-lock'))"
if errorlevel 1 goto make
.venv\Scripts\workbench --version >nul 2>nul
if errorlevel 1 goto make
rem The .venv of a copied folder would start the original.
.venv\Scripts\python -I -c "import os, sys, workbench; sys.exit(not os.path.samefile(os.path.dirname(workbench.__path__[0]), '.'))" >nul 2>nul
if errorlevel 1 goto make
echo The environment .venv is current.
goto ready

:make
echo Making the environment .venv. This takes some minutes, 2 GB on the disk, and the network.
if exist .venv rmdir /s /q .venv
%FOUND% -m venv .venv
if errorlevel 1 goto no_venv
.venv\Scripts\python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-demo.lock
if errorlevel 1 goto no_packages
.venv\Scripts\python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
if errorlevel 1 goto no_packages
type nul > .venv\.made-from-lock
echo The environment .venv is ready.

:ready
if "%~1"=="demo" goto demo
if "%~1"=="lab" goto lab
if "%~1"=="test" goto test
echo.
echo What next? In this folder, type one of these:
echo.
echo   .venv\Scripts\workbench run run_colors -p input samples\colors.csv     a report on a file
echo   scripts\setup.bat lab                                 JupyterLab with the notebooks
echo.
echo docs\quickstart.md explains them.
exit /b 0

:demo
.venv\Scripts\workbench run run_colors -p input samples\colors.csv
exit /b %errorlevel%

:lab
.venv\Scripts\workbench lab
exit /b %errorlevel%

:test
.venv\Scripts\python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
if errorlevel 1 goto no_packages
.venv\Scripts\pytest
exit /b %errorlevel%

:no_python
echo Python 3.11 or newer is needed, and none was found. 1>&2
echo Install it from python.org; tick "Add python.exe to PATH". Then run this script again. 1>&2
exit /b 1

:no_venv
echo The environment could not be made; the lines above say why. 1>&2
exit /b 1

:no_packages
echo The packages could not be installed; the lines above say why. Behind a proxy, set HTTPS_PROXY. 1>&2
exit /b 1
