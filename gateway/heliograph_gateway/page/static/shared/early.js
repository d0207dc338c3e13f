// Sets the chosen theme before the first paint; the rest of the page is made of modules, which come after it.
try {
  const chosen = localStorage.getItem("heliograph.theme");
  if (chosen === "dark" || chosen === "light") {
    document.documentElement.dataset.theme = chosen;
  }
} catch {
  // Storage is blocked: the system's theme it is.
}
