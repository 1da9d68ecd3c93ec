import type { FunctionComponent } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { chatAddress } from "./chat/chat-address.js";
import { ChatView } from "./chat/chat-view.js";
import { Announcer } from "./parts/announcer.js";
import { lazyView } from "./parts/lazy-view.js";
import { ServerNotice } from "./parts/server-notice.js";
import { type Place, place, type Theme, theme } from "./session.js";
import "./page.css";

const tabs: readonly { readonly place: Place; readonly label: string }[] = [
  { place: "chat", label: "Chat" },
  { place: "vectors", label: "Vectors" },
  { place: "steering", label: "Steering" },
  { place: "compare", label: "Compare" },
  { place: "arena", label: "Arena" },
];

const views: Readonly<Record<Place, FunctionComponent>> = {
  chat: ChatView,
  vectors: lazyView(async () => (await import("./vectors/vectors-view.js")).VectorsView),
  steering: lazyView(async () => (await import("./steering/steering-view.js")).SteeringView),
  compare: lazyView(async () => (await import("./compare/compare-view.js")).CompareView),
  arena: lazyView(async () => (await import("./arena/arena-view.js")).ArenaView),
  leaderboard: lazyView(async () => (await import("./arena/leaderboard-view.js")).LeaderboardView),
};

const titles: Readonly<Record<Place, string>> = {
  chat: "Chat",
  vectors: "Vectors",
  steering: "Steering",
  compare: "Compare",
  arena: "Arena",
  leaderboard: "Leaderboard",
};

/** The whole page: what stands above every view, and the view. */
export function Page() {
  const View = views[place.value];
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${titles[place.value]} · toast-serve`;
    // Who follows a link should land where it leads; the first visit begins at the top.
    if (!first.current) main.current?.focus();
    first.current = false;
  }, [place.value]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="bar">
        <a class="brand" href="#/chat" aria-label="toast-serve, to a new conversation">
          <Mark />
          <span>toast-serve</span>
        </a>
        <nav aria-label="Views">
          {tabs.map((tab) => (
            <a
              key={tab.place}
              href={tab.place === "chat" ? chatAddress() : `#/${tab.place}`}
              aria-current={isUnder(place.value, tab.place) ? "page" : undefined}
            >
              {tab.label}
            </a>
          ))}
        </nav>
        <a class="api" href="./docs">
          API
        </a>
        <ThemeSwitch />
      </header>
      <ServerNotice />
      <Announcer />
      <main id="main" ref={main} tabIndex={-1} class={`view-${place.value}`}>
        <View />
      </main>
    </>
  );
}

function isUnder(current: Place, tab: Place): boolean {
  return current === tab || (current === "leaderboard" && tab === "arena");
}

const themes: readonly { readonly theme: Theme; readonly label: string }[] = [
  { theme: "system", label: "Auto" },
  { theme: "light", label: "Light" },
  { theme: "dark", label: "Dark" },
];

function ThemeSwitch() {
  return (
    <label class="theme">
      <span class="visually-hidden">Theme</span>
      <select
        value={theme.value}
        onChange={(event) => {
          theme.value = event.currentTarget.value as Theme;
        }}
      >
        {themes.map((one) => (
          <option key={one.theme} value={one.theme}>
            {one.label}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A slice of toast with three sliders. */
function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true" class="mark">
      <path d="M6 13a5 5 0 0 1 3-9h14a5 5 0 0 1 3 9v12a3 3 0 0 1-3 3H9a3 3 0 0 1-3-3z" fill="currentColor" />
      <path d="M9.5 22V9M16 22V9M22.5 22V9" class="mark-lines" />
      <circle cx="9.5" cy="17" r="2.6" class="mark-knob" />
      <circle cx="16" cy="12.500" r="2.600" class="mark-knob" />
      <circle cx="22.500" cy="18" r="2.600" class="mark-knob" />
    </svg>
  );
}
