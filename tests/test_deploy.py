"""The way to production: its checks can fail, its policy allows what is needed and nothing else."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import runpy
import shutil
import signal
import string
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from commands import command
from conftest import BIN, ROOT
from packaging.requirements import Requirement
from policies import ACCOUNT, administrator, allowed

from notebooks import make_notebook
from workbench import credentials

LICENCES = runpy.run_path(str(ROOT / "deploy" / "licences.py"))
CHECK = runpy.run_path(str(ROOT / "deploy" / "check.py"))
DEPLOY, HOW_TO = ROOT / "deploy", ROOT / "docs" / "how-to"
REGION, PATH, SECRET, BUCKET = "eu-central-1", "/acme/prod/oracle", "acme/prod/dw", "acme-reports"
WORD = "blue-tiger-of-the-morning"


@pytest.fixture
def copy(tmp_path: Path, project: Path) -> Path:
    for name in ("deploy", ".github", "scripts", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    return tmp_path


@pytest.mark.parametrize(
    ("check", "file", "good", "bad", "told"),
    [
        ("dockerfile", "deploy/Dockerfile", "trixie\n", "trixie\nUSER root\nRUN cd /x\n", "DL3003"),
        ("compose", "deploy/compose.yaml", "    ports:", "    port:", "'port' was unexpected"),
        ("compose", "deploy/oracle/compose.yaml", "retries: 30", "retries: [30]", "retries"),
        ("workflows", ".github/workflows/ci.yml", "runs-on:", "run-on:", "'run-on'"),
        ("workflows", ".github/workflows/report.yml", '"$PLAN"', "${{ inputs.plan }}",
         "template-injection"),
        ("workflows", ".github/workflows/ci.yml", "@08c6903cd8c0fde910a37f88322edcfb5dd907a8",
         "@v5", "unpinned-uses"),
        ("kubernetes", "deploy/kubernetes/cronjob.yaml", "backoffLimit", "backofLimit",
         "'backofLimit' was unexpected"),
        ("terraform", "deploy/terraform/role.tf", "in var.trusted", "in var.trust",
         "nothing is called var.trust"),
        ("terraform", "deploy/terraform/outputs.tf", "aws_s3_bucket.reports", "aws_s3_bucket.x",
         "nothing is called aws_s3_bucket.x"),
        ("terraform", "deploy/terraform/bucket.tf", "= var.bucket", "= ", "bucket.tf"),
        ("terraform", "deploy/terraform/policy.json", "${secret}", "${secrets}", "'secrets'"),
        ("scripts", "deploy/run_plan", "; done", "", "Syntax error"),
        ("settings", "deploy/kubernetes/configmap.yaml", "schema =", "shema =", "'shema'"),
        ("settings", "deploy/kubernetes/configmap.yaml", "table: ", "tables: ", "tables"),
        ("settings", "deploy/kubernetes/configmap.yaml", "{source: warehouse", "{source: house",
         "'house', which is not there"),
    ],
)  # fmt: skip
def test_what_is_broken_is_told(
    copy: Path, check: str, file: str, good: str, bad: str, told: str
) -> None:
    text = (copy / file).read_text(encoding="utf-8")
    assert good in text
    (copy / file).write_text(text.replace(good, bad, 1), encoding="utf-8")
    assert told in "\n".join(CHECK[check](copy))


# Least privilege: the policy that Terraform gives to the role, checked by moto.


def policy(**values: str) -> dict[str, Any]:
    text = (DEPLOY / "terraform" / "policy.json").read_text(encoding="utf-8")
    filled: dict[str, Any] = json.loads(string.Template(text).substitute(values))
    return filled


@pytest.fixture(scope="module")
def role(moto: str) -> Iterator[dict[str, str]]:
    """What AWS holds, ours and others'; the environment of one who may do what the policy says."""
    ssm, kept, s3 = (administrator(moto, name, REGION) for name in ("ssm", "secretsmanager", "s3"))
    for path in (PATH, "/acme/prod/other"):
        for name in ("username", "password"):
            value = "reader" if name == "username" else WORD
            ssm.put_parameter(Name=f"{path}/{name}", Value=value, Type="SecureString")
    secret = json.dumps({"username": "reader", "password": WORD})
    arn = kept.create_secret(Name=SECRET, SecretString=secret)["ARN"]
    kept.create_secret(Name="acme/prod/other", SecretString=secret)
    for bucket in (BUCKET, "acme-other"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=bucket, Key="others/x", Body=b"theirs")
    document = policy(
        parameters=f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{PATH}", secret=arn,
        bucket=f"arn:aws:s3:::{BUCKET}", prefix="reports",
    )  # fmt: skip
    with allowed(document, moto, REGION) as environment:
        yield environment


@pytest.fixture
def as_role(role: dict[str, str], project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in role.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(credentials, "_read", {})
    (project / "workbench.toml").write_text("[kernels]\nwarm = false\n" + "".join(
        f'[sources.{name}]\nurl = "postgresql+psycopg://127.0.0.1:1/x"\ncredentials = "{where}"\n'
        for name, where in {
            "oracle": f"ssm:{PATH}", "dw": f"secretsmanager:{SECRET}",
            "path": "ssm:/acme/prod/other", "above": "ssm:/acme/prod",
            "secret": "secretsmanager:acme/prod/other",
        }.items()
    ))  # fmt: skip
    return project


def test_the_role_reads_its_own_credentials_and_no_others(as_role: Path) -> None:
    def asked(source: str) -> dict[str, Any]:
        done = command("doctor", source, "--json", "--timeout", "1")
        assert done.returncode == 1  # nobody listens at the port
        [found] = [
            c for c in json.loads(done.stdout)["checks"][source] if c["name"] == "credentials"
        ]
        assert WORD not in done.stdout + done.stderr
        return found

    for source in ("oracle", "dw"):
        assert asked(source)["ok"] is True, source
    for source in ("path", "above", "secret"):
        found = asked(source)
        assert found["ok"] is False
        assert "may not be read by this AWS identity: access denied" in found["found"]


def test_the_role_publishes_to_its_prefix_and_nowhere_else(
    as_role: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = as_role / "reports" / "a" / "r1"
    run.mkdir(parents=True)
    (run / "report.html").write_text("a report")
    (run / "run.json").write_text('{"name": "a", "status": "passed"}')
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")
    for _ in range(2):  # the second reads the index that the first wrote
        done = command("publish", f"s3://{BUCKET}/reports")
        assert done.returncode == 0, done.stderr
    # moto does not check the policy's condition: each question must keep it by itself.
    listed = re.findall(r'"GET /\S*\?(\S*list-type=2\S*)', caplog.text)
    assert listed
    assert all("prefix=reports%2F&" in f"{question}&" for question in listed)
    for elsewhere in (f"s3://{BUCKET}/others", "s3://acme-other/reports", f"s3://{BUCKET}"):
        done = command("publish", elsewhere)
        assert done.returncode == 1
        assert f"error: Access to {elsewhere} was denied." in done.stderr
    s3 = boto3.client("s3")
    for bucket, key in ((BUCKET, "others/x"), (BUCKET, "reports/index.html"), ("acme-other", "y")):
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=bucket, Key=key)


def morning(folder: Path, **cells: str) -> subprocess.Popen[str]:
    """Start run_plan, as the CronJob and the workflow do, with a notebook for each cell."""
    (folder / "notebooks").mkdir()
    for name, cell in cells.items():
        make_notebook(folder / "notebooks" / f"{name}.ipynb", cell)
    plan = {"runs": [{"notebook": name} for name in cells]}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    words = [str(DEPLOY / "run_plan"), "plan.yaml", f"s3://{BUCKET}/reports"]
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        words, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def published(*names: str) -> dict[str, str]:
    """The status of the newest run of each name in the bucket; each report is in the index."""
    s3, found = boto3.client("s3"), {}
    index = s3.get_object(Bucket=BUCKET, Key="reports/index.html")["Body"].read().decode()
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="reports/")["Contents"]
    for key in [item["Key"] for item in listed]:
        content = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        assert WORD.encode() not in content, key
        if key.endswith("run.json") and key.split("/")[1] in names:
            assert key.removeprefix("reports/").replace("run.json", "report.html") in index
            found[key.split("/")[1]] = json.loads(content)["status"]
    return found


def test_a_morning_is_published_however_it_ended_and_its_exit_code_kept(as_role: Path) -> None:
    prices = f"""
from workbench import credentials, verdict
found = credentials.resolve("ssm:{PATH}")
print(found.username, found.password.get_secret_value())
verdict("prices are there", False)
"""
    long = "import threading; open('begun', 'w').close(); threading.Event().wait()"
    os.mkfifo("begun")
    with morning(as_role, prices=prices, long=long) as process:
        assert process.stdout
        assert any(line.startswith("prices: data-failed") for line in process.stdout)
        (as_role / "begun").read_text()  # waits for the notebook
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=120)[0]
    assert process.returncode == 130, told
    assert published("prices", "long") == {"prices": "data-failed", "long": "cancelled"}


def test_a_plan_that_is_wrong_publishes_nothing(as_role: Path) -> None:
    with morning(as_role) as process:
        told = process.communicate(timeout=120)[0]
    assert process.returncode == 2
    assert "has no runs" in told
    assert "publish" not in told


def test_the_page_shows_the_policy_that_terraform_gives() -> None:
    text = (HOW_TO / "secrets_in_aws.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    account = "eu-central-1:111122223333"
    assert json.loads(shown) == policy(
        parameters=f"arn:aws:ssm:{account}:parameter/acme/prod/marketpulse/oracle",
        secret=f"arn:aws:secretsmanager:{account}:secret:acme/prod/warehouse-AbCdEf",
        bucket="arn:aws:s3:::acme-reports", prefix="reports",
    )  # fmt: skip


# What must agree in several files.


def test_the_image_builds_our_wheel_with_locked_packages_alone() -> None:
    """Whatever the build backend needs is taken from the lock, else --require-hashes refuses it."""
    needed, found = set[str](), {"hatchling"}
    while found - needed:
        needed |= found
        lines = [Requirement(line) for name in needed for line in requires(name) or ()]
        found = {line.name for line in lines if not line.marker or line.marker.evaluate()}
    [names] = re.findall(r"\^\(([\w|-]+)\)==", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    assert set(names.split("|")) == needed
    lock = (ROOT / "requirements-demo.lock").read_text(encoding="utf-8")
    assert needed <= set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))


def test_the_image_holds_nothing_that_was_not_named() -> None:
    first, *named = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in "#"
    ]
    assert first == "*"
    copied = re.findall(
        r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
    )
    files = {file for line in copied for file in line.split()}
    assert {line[1:] for line in named if line.startswith("!")} == files
    assert all((ROOT / file).exists() for file in files)


def test_pods_run_as_the_image_does_and_satisfy_the_restricted_standard() -> None:
    [uid] = re.findall(r"^ARG UID=(\d+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    config = yaml.safe_load((DEPLOY / "kubernetes" / "configmap.yaml").read_text())["data"]
    for name in ("job", "cronjob"):
        spec = yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text())["spec"]
        job = spec.get("jobTemplate", {"spec": spec})["spec"]
        assert job["backoffLimit"] == 0
        pod = job["template"]["spec"]
        [container] = pod["containers"]
        both = pod["securityContext"] | container["securityContext"]
        assert both["runAsUser"] == int(uid)
        assert both["runAsNonRoot"] is both["readOnlyRootFilesystem"] is True
        assert both["allowPrivilegeEscalation"] is False
        assert both["capabilities"] == {"drop": ["ALL"]}
        assert both["seccompProfile"] == {"type": "RuntimeDefault"}
        mounts = {mount["mountPath"]: mount.get("subPath") for mount in container["volumeMounts"]}
        assert {"/reports", "/tmp", "/srv/workbench/workbench.toml"} <= set(mounts)  # noqa: S108
        assert {path for path in mounts.values() if path} <= set(config)
        # Longer than every run may take, one after the other.
        plan = yaml.safe_load(config["prod.yaml"])
        if name == "cronjob":
            assert job["activeDeadlineSeconds"] >= 4 * plan["defaults"]["timeout"]


def test_conda_brings_the_same_python_and_the_same_lock() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip = content["dependencies"][0], content["dependencies"][-1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least, below = python.removeprefix("python").split(",")
    assert least == project["requires-python"]
    # No newer one than CI has seen.
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    tested = ci["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert least == f">={tested[0]}"
    assert below == f"<3.{int(tested[-1].split('.')[1]) + 1}"
    assert pip == {"pip": ["--require-hashes", "-r requirements-demo.lock"]}


def test_the_licences_of_what_production_installs_are_told() -> None:
    text = (ROOT / "docs" / "supply_chain.md").read_text(encoding="utf-8")
    table = text.split("<!-- licences -->")[1].split("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    told = {name: licence for licence, names in rows for name in names.split(", ")}
    assert sorted(told) == LICENCES["locked"]()
    free = {"0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT",
            "MIT-0", "PSF-2.0", "UPL-1.0", "Zlib"}  # fmt: skip
    copyleft = {"psycopg", "psycopg-binary", "certifi", "fqdn", "tqdm"}
    for name, licence in told.items():
        if (stated := LICENCES["licence"](name)) == LICENCES["ELSEWHERE"]:
            continue
        assert licence in (stated, LICENCES["ELSEWHERE"]), name
        terms = set(re.split(" AND | OR ", stated))
        assert terms <= free or (name in copyleft and terms <= free | {"MPL-2.0", "LGPL-3.0-only"})


def test_a_file_that_was_changed_is_not_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0"
        )
        file.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr("tiny-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "a.lock").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    words = ["-m", "pip", "install", "--dry-run", "--no-index", "--find-links", str(tmp_path),
             "--target", str(tmp_path / "into"), "--require-hashes", "-r"]  # fmt: skip

    def install() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "python", *words, tmp_path / "a.lock"], capture_output=True, text=True
        )

    assert install().returncode == 0
    with zipfile.ZipFile(wheel, "a") as file:
        file.writestr("tiny.py", "import os")
    refused = install()
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
