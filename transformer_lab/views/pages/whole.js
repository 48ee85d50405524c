// The first script of a page: says so where the file was cut off before its end. A plain script, as page.js.
// Of a file that is cut off before this script ends a style says so, the first of the page (export.py). It stays
// in the page, for copies that are saved of it.
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
