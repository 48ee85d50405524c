// Views live in frames that cannot see this page; tell them which theme it wears.
const themeNow = () => {
  const chosen = document.body.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
};
const tellFrames = () => {
  document.documentElement.setAttribute("theme", themeNow()); // what the lessons' own pictures look at
  for (const frame of document.querySelectorAll(".tl-frame iframe")) {
    frame.contentWindow?.postMessage({ transformerLabTheme: themeNow() }, "*");
  }
};
document.addEventListener("DOMContentLoaded", () => {
  new MutationObserver(tellFrames).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tellFrames);
  for (const frame of document.querySelectorAll(".tl-frame iframe")) frame.addEventListener("load", tellFrames);
  tellFrames();
});
