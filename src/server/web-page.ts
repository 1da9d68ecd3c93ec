import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono, type MiddlewareHandler } from "hono";
import { etag } from "hono/etag";
import { secureHeaders } from "hono/secure-headers";

/** The built page, from `src/server/` and `dist/server/` alike. */
const builtPage = fileURLToPath(new URL("../../dist/web", import.meta.url));

/**
 * The page at `/` and its assets, open to all: the key that the API may want is entered there. Assets bear a hash of their
 * content in their names and are kept for ever; the page itself is asked about each time and mostly answered 304. Files are
 * compressed when they are built. Without a build there is no page, and the API works all the same.
 */
export function webPage(folder = builtPage): Hono {
  const routes = new Hono();
  if (!existsSync(folder)) return routes;
  const headers = secureHeaders({
    // Nothing from elsewhere, nothing inline, no string becomes markup but through the sanitizer's own policy.
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
      requireTrustedTypesFor: ["'script'"],
      trustedTypes: ["dompurify"],
    },
    // Meant for https alone; who ends TLS in front of this server decides that.
    strictTransportSecurity: false,
    xFrameOptions: "DENY",
    permissionsPolicy: { camera: [], microphone: [], geolocation: [] },
  });
  const files = serveStatic({ root: folder, precompressed: true });
  routes.get("/", headers, keptFor("no-cache"), etag(), files);
  routes.get("/assets/*", headers, keptFor("public, max-age=31536000, immutable"), files);
  return routes;
}

/** What is not there is not kept: the next build may have it. */
function keptFor(cacheControl: string): MiddlewareHandler {
  return async (context, next) => {
    await next();
    if (context.res.status < 400) context.header("cache-control", cacheControl);
  };
}
