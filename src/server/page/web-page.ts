import { existsSync } from "node:fs";
import { join } from "node:path";
import { serveStatic } from "@hono/node-server/serve-static";
import type { MiddlewareHandler } from "hono";
import { every } from "hono/combine";
import { etag } from "hono/etag";
import { secureHeaders } from "hono/secure-headers";
import { packageFolder } from "../../package.js";
import { pagePart, type Route } from "../route.js";

const builtPage = join(packageFolder, "dist", "web");

/**
 * The page at `/` and its assets: the key that the API may want is entered there. Assets bear a hash of their content
 * in their names and are kept for ever; the page itself is asked about each time and mostly answered 304. Files are
 * compressed when they are built. Without a build there is no page, and the API works all the same.
 */
export function webPage(folder = builtPage): readonly Route[] {
  if (!existsSync(folder)) return [];
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
  return [
    pagePart("/", every(headers, keptFor("no-cache"), etag(), files)),
    pagePart("/assets/*", every(headers, keptFor("public, max-age=31536000, immutable"), files)),
  ];
}

/** What is not there is not kept: the next build may have it. */
function keptFor(cacheControl: string): MiddlewareHandler {
  return async (context, next) => {
    await next();
    if (context.res.status < 400) context.header("cache-control", cacheControl);
  };
}
