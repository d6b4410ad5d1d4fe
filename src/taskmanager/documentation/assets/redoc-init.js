"use strict";

const systemFonts = "system-ui, sans-serif";

Redoc.init(
  new URL("openapi.json", document.baseURI).href,
  {
    nativeScrollbars: true,
    theme: {
      typography: {
        fontFamily: systemFonts,
        headings: { fontFamily: systemFonts },
        code: { fontFamily: "ui-monospace, monospace" },
      },
    },
  },
  document.getElementById("documentation"),
);
