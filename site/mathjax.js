// How MathJax finds and sets the formulas; it lies beside the pages, and so do its fonts. Who
// listens hears MathML: MathJax's own speech would load another megabyte, its menu half of one.
window.MathJax = {
  loader: {
    paths: { fonts: "[mathjax]/fonts" },
    load: ["core", "input/tex", "output/chtml", "ui/lazy", "a11y/assistive-mml"],
  },
  chtml: { displayOverflow: "linebreak" },
  options: { processHtmlClass: "math|output_area" },
  startup: {
    ready() {
      delete MathJax.config.options.menuOptions; // what assistive-mml would set in a menu
      MathJax.startup.defaultReady();
    },
  },
};
