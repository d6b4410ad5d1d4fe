"use strict";

const systemFonts = "system-ui, sans-serif";

Redoc.init(
  new URL("openapi.json", document.baseURI).href,
  {
    // Redoc writes style elements while it runs; the policy admits only those with this page's nonce.
    nonce: document.currentScript.nonce,
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
