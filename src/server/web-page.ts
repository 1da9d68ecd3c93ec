import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";
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
  const page = serveStatic({
    root: folder,
    precompressed: true,
    onFound: (_, context) => context.header("cache-control", "no-cache"),
  });
  const assets = serveStatic({
    root: folder,
    precompressed: true,
    onFound: (_, context) => context.header("cache-control", "public, max-age=31536000, immutable"),
  });
  routes.get("/", headers, etag(), page);
  routes.get("/assets/*", headers, assets);
  return routes;
}
