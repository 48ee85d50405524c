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
// Of those that are pages of their own the height is heard here; the others bring a script that hears it.
addEventListener("message", ({ source, data }) => {
  const height = Number(data?.transformerLabHeight);
  for (const frame of height > 0 ? document.querySelectorAll(".tl-frame iframe[src]") : []) {
    if (frame.contentWindow === source)
      frame.style.height = `${Math.min(4000, Math.max(120, Math.ceil(height)))}px`;
  }
});
document.addEventListener("DOMContentLoaded", () => {
  new MutationObserver(tellFrames).observe(document.body, {
    attributes: true,
    attributeFilter: ["data-theme"],
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tellFrames);
  for (const frame of document.querySelectorAll(".tl-frame iframe"))
    frame.addEventListener("load", tellFrames);
  const tasks = [...document.querySelectorAll(".tl-tasks a")];
  const words = [...document.querySelectorAll(".tl-words p")];
  const choose = (chosen) => {
    tasks.forEach((task, i) => {
      if (i === chosen) task.setAttribute("aria-current", "true");
      else task.removeAttribute("aria-current");
      words[i].hidden = i !== chosen;
    });
  };
  tasks.forEach((task, i) => task.addEventListener("click", () => choose(i)));
  choose(0); // it stands in the frame at first
  tellFrames();
});
