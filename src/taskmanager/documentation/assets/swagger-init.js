"use strict";

// Everything is relative to the page, so the same files work below any path prefix.
const prefix = new URL(".", document.baseURI).pathname.slice(0, -1);
const description = new URL("openapi.json", document.baseURI).href;

// A server that does not know the prefix which a proxy strips describes itself as if there were none.
const nameServer = (response) => {
  if (prefix && response.ok && response.url === description) {
    const content = JSON.parse(response.text);
    if (content.servers[0].url === "/") {
      content.servers = [{ url: prefix }];
      for (const scheme of Object.values(content.components.securitySchemes)) {
        for (const flow of Object.values(scheme.flows ?? {})) {
          flow.tokenUrl = prefix + flow.tokenUrl;
        }
      }
      response.text = JSON.stringify(content);
    }
  }
  return response;
};

SwaggerUIBundle({
  dom_id: "#documentation",
  url: description,
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
  responseInterceptor: nameServer,
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  // The badge would send the address of the schema to a public service.
  validatorUrl: null,
});
