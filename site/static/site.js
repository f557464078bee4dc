// What is wider than its box can be scrolled by keyboard; paper shows what is folded.

function reachable() {
  for (const box of document.querySelectorAll("pre, .table-wrapper, .math, .text_html")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

function unfold() {
  for (const fold of document.querySelectorAll("article details:not(.hide)")) fold.open = true;
}

// Formulas are typeset as they come near; before printing, all of them (tools/site.py waits).
async function complete() {
  unfold();
  if (!window.MathJax?.startup) return;
  await MathJax.startup.promise;
  await MathJax.startup.document.lazyTypesetAll?.();
  reachable();
}

window.complete = complete;
addEventListener("beforeprint", complete);
addEventListener("resize", reachable);
document.addEventListener("toggle", reachable, true);
reachable();
