{
  const form = document.getElementById("filter");
  const byName = document.getElementById("by-name");
  const byStatus = document.getElementById("by-status");
  const count = document.getElementById("count");
  const rows = Array.from(document.querySelectorAll(".runs tbody tr"), (row) => ({
    row, name: row.cells[0].textContent.toLowerCase(), status: row.dataset.status,
  }));
  const show = () => {
    const name = byName.value.trim().toLowerCase();
    let shown = 0;
    for (const item of rows) {
      const fits = item.name.includes(name) && (!byStatus.value || item.status === byStatus.value);
      item.row.hidden = !fits;
      shown += fits;
    }
    const all = rows.length.toLocaleString("en");
    count.textContent = shown === rows.length ? "All " + all + " runs are shown"
      : shown.toLocaleString("en") + " of " + all + " runs are shown";
  };
  // The address carries the filter, so that a filtered list can be linked to.
  const read = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (location.hash.length > 1 && !wanted.has("name") && !wanted.has("status")) return show();
    byName.value = wanted.get("name") || "";
    byStatus.value = wanted.get("status") || "";
    if (byStatus.selectedIndex < 0) byStatus.value = "";
    show();
  };
  form.addEventListener("input", () => {
    const wanted = new URLSearchParams();
    if (byName.value.trim()) wanted.set("name", byName.value.trim());
    if (byStatus.value) wanted.set("status", byStatus.value);
    history.replaceState(null, "", "#" + wanted);
    show();
  });
  addEventListener("hashchange", read);
  form.hidden = false;
  read();
}
