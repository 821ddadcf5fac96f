"use strict";
// The theme: the system's, until somebody chooses.
(() => {
  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  let stored = null;
  try { stored = localStorage.getItem("poq-theme"); } catch { /* a page opened from a file may not remember */ }
  const apply = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    try { localStorage.setItem("poq-theme", theme); } catch { /* as above */ }
  };
  let theme = themes.includes(stored) ? stored : "system";
  apply(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    apply(theme);
  });
  // Paper is white, and what is folded away cannot be unfolded on it.
  const closed = [];
  window.addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    document.querySelectorAll("figure details:not([open])").forEach((details) => { details.open = true; closed.push(details); });
  });
  window.addEventListener("afterprint", () => {
    apply(theme);
    closed.splice(0).forEach((details) => { details.open = false; });
  });
})();

// Figures: what a mark says of itself, and series that can be singled out or hidden.
(() => {
  const tip = document.getElementById("tip");
  const show = (mark, x, y) => {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(x + 12, innerWidth - width - 6))}px`;
    tip.style.top = `${y + 16 + height > innerHeight ? Math.max(6, y - height - 10) : y + 16}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const mark of document.querySelectorAll("svg.figure .mark")) {
    // The browser's own tip would come late and stand beside this one.
    const title = mark.querySelector("title");
    mark.dataset.tip = title.textContent;
    mark.setAttribute("aria-label", title.textContent.replaceAll("\n", ", "));
    mark.setAttribute("tabindex", "0");
    title.remove();
    mark.addEventListener("pointermove", (event) => show(mark, event.clientX, event.clientY));
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("focus", () => {
      const box = mark.getBoundingClientRect();
      show(mark, box.right, box.top);
    });
    mark.addEventListener("blur", hide);
  }
  addEventListener("scroll", hide, { passive: true });
  for (const figure of document.querySelectorAll("figure")) {
    const of = (series) => figure.querySelectorAll(`.mark[data-s="${series}"], .line[data-s="${series}"]`);
    const others = (series) => figure.querySelectorAll(`.mark:not([data-s="${series}"]), .line:not([data-s="${series}"])`);
    for (const key of figure.querySelectorAll(".key")) {
      const series = key.dataset.s;
      key.setAttribute("role", "button");
      key.setAttribute("tabindex", "0");
      key.setAttribute("aria-pressed", "true");
      const toggle = () => {
        const off = key.getAttribute("aria-pressed") === "true";
        figure.querySelectorAll(`.key[data-s="${series}"]`).forEach((same) => {
          same.setAttribute("aria-pressed", String(!off));
          same.classList.toggle("off", off);
        });
        of(series).forEach((part) => part.classList.toggle("off", off));
      };
      key.addEventListener("click", toggle);
      key.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); }
      });
      key.addEventListener("pointerenter", () => others(series).forEach((part) => part.classList.add("faint")));
      key.addEventListener("pointerleave", () => others(series).forEach((part) => part.classList.remove("faint")));
    }
  }
})();
