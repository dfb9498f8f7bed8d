// Swagger UI on the page of the API explorer. Requests carry the key that is entered there, never the session.
(() => {
  const page = document.documentElement;
  const night = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => {
    const theme = page.dataset.theme;
    page.classList.toggle("dark-mode", theme === "dark" || (!theme && night.matches)); // Swagger UI's own name
  };
  dress();
  night.addEventListener("change", dress);
  new MutationObserver(dress).observe(page, { attributeFilter: ["data-theme"] });

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("explorer");
    SwaggerUIBundle({
      url: root.dataset.schema,
      domNode: root,
      deepLinking: false, // a link inside of a button, which no keyboard reaches
      plugins: [{ wrapComponents: { InfoContainer: () => () => null, ServersContainer: () => () => null } }], // the page says it
      presets: [SwaggerUIBundle.presets.apis],
      layout: "BaseLayout",
      persistAuthorization: false,
      validatorUrl: null,
      requestInterceptor: (request) => {
        request.credentials = "omit";
        return request;
      },
    });
  });
})();
