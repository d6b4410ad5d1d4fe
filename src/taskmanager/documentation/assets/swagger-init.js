"use strict";

// Everything is relative to the page, so the same files work below any path prefix.
const prefix = new URL(".", document.baseURI).pathname.slice(0, -1);

// Swagger UI resolves an absolute tokenUrl against the origin, not against the prefix the API is served below.
const tokenUrlBelowPrefix = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorizeRequest: (original) => (request) =>
          original({ ...request, url: request.url.startsWith("/") ? prefix + request.url : request.url }),
      },
    },
  },
});

SwaggerUIBundle({
  dom_id: "#documentation",
  url: new URL("openapi.json", document.baseURI).href,
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [tokenUrlBelowPrefix],
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  // The badge would send the address of the schema to a public service.
  validatorUrl: null,
});
