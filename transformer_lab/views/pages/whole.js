// The first script of a page: says if the file was cut off before its end. A plain script, like
// page.js. If the file is cut off even before this script ends, the first style of the page
// (export.py) says so. The style stays in the page, for copies saved from it.
/** @type {any} */ (document.querySelector("style")).sheet.disabled = true;
addEventListener("DOMContentLoaded", () => {
  if (document.querySelector("template[data-end]")) return;
  const notice = document.createElement("p");
  notice.className = "tl-still";
  notice.dataset.cut = "";
  notice.setAttribute("role", "alert");
  const lacks = /** @type {any} */ (window).transformerLabBegan
    ? ", and with it a part of what can be asked for"
    : ", and without it nothing can be shown";
  notice.textContent = `This page is cut off: its end is missing${lacks}. Save it again, or copy it again.`;
  document.body.prepend(notice);
});
