import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "hono";
import { ToastError } from "../../errors.js";
import { packageFolder, packageVersion } from "../../package.js";
import { pagePart, type Route } from "../route.js";

/** Files of the page, which the build copies from swagger-ui-dist: nothing of it comes from elsewhere. */
const assets: Readonly<Record<string, string>> = {
  "swagger-ui.css": "text/css; charset=utf-8",
  "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
  "start.js": "text/javascript; charset=utf-8",
};

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>toast-serve: interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<p style="max-width: 1460px; margin: 1rem auto 0; padding: 0 20px; font: 1rem system-ui, sans-serif">
<a href="./" style="color: #c8742c">← toast-serve</a></p>
<div id="interface"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

/**
 * Dark where the reader's system is; no validator badge, which would be a picture from another host; addresses relative
 * to where the page is.
 */
const startScript = `const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.classList.toggle("dark-mode", isDark);
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#interface",
  validatorUrl: null,
  queryConfigEnabled: false,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
});
`;

/**
 * Scripts and styles of the page's own origin; the stylesheet holds its pictures as data. Swagger UI writes style
 * attributes.
 */
const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'";

/** GET /openapi.json. @param description makes the document; called once. */
export function documentRoute(description: (version: string) => object): Route {
  let document: string | undefined;
  return pagePart("/openapi.json", async (context) => {
    document ??= JSON.stringify(description(packageVersion()));
    return context.body(document, 200, { "content-type": "application/json" });
  });
}

/** A page at /docs to browse the document and try requests. */
export const docsRoutes: readonly Route[] = [
  pagePart("/docs", async (context) => {
    context.header("content-security-policy", contentSecurityPolicy);
    return context.html(page);
  }),
  pagePart("/docs/:file", (context) => asset(context, context.req.param("file") ?? "")),
];

/** @throws ToastError `route_not_found` for a file that the page does not use. */
async function asset(context: Context, name: string): Promise<Response> {
  const type = Object.hasOwn(assets, name) ? assets[name] : undefined;
  if (type === undefined) {
    throw new ToastError("route_not_found", `There is no file ${name.slice(0, 100)} here.`);
  }
  const bytes = name === "start.js" ? startScript : await readFile(join(packageFolder, "dist", "docs", name));
  const headers = {
    "content-type": type,
    "cache-control": "public, max-age=3600",
    "x-content-type-options": "nosniff",
  };
  return context.body(bytes, 200, headers);
}
