import { useState } from "preact/hooks";
import { access, enterKey, keyIsRemembered, keyWanted, phase } from "../session.js";
import { percent } from "./format.js";
import "./server-notice.css";

/**
 * Above every view: what keeps the server from answering, and what the user can do about it. Nothing when all is well.
 */
export function ServerNotice() {
  return (
    <div class="notices">
      <PhaseNotice />
      <KeyForm />
    </div>
  );
}

function PhaseNotice() {
  const { value } = phase;
  switch (value.kind) {
    case "unknown":
    case "ready":
      return null;
    case "loading":
      return (
        <div class="notice" role="status">
          <label for="loading">
            The server is loading ({value.stage}), {percent(value.fraction)}
          </label>
          <progress id="loading" value={value.fraction} max={1} />
        </div>
      );
    case "draining":
      return (
        <div class="notice" role="status">
          The server is shutting down and takes no new questions. This page goes on by itself when it is back.
        </div>
      );
    case "unreachable":
      return (
        <div class="notice problem" role="alert">
          The server cannot be reached. This page tries again every two seconds; what you wrote is kept.
        </div>
      );
    case "failed":
      return (
        <div class="notice problem" role="alert">
          The server cannot answer: {value.message}
        </div>
      );
  }
}

function KeyForm() {
  const [key, setKey] = useState(access.value.apiKey);
  const [remember, setRemember] = useState(keyIsRemembered.value);
  if (keyWanted.value === null) return null;
  return (
    <form
      class="notice key-form"
      onSubmit={(event) => {
        event.preventDefault();
        enterKey(key.trim(), remember);
      }}
    >
      <p role="alert">{keyWanted.value.sentence}</p>
      <label for="api-key">API key</label>
      <input
        id="api-key"
        type="password"
        autocomplete="current-password"
        required
        value={key}
        onInput={(event) => setKey(event.currentTarget.value)}
      />
      <label class="check">
        <input type="checkbox" checked={remember} onChange={(event) => setRemember(event.currentTarget.checked)} />{" "}
        Remember on this device
      </label>
      <button type="submit" class="primary">
        Use key
      </button>
    </form>
  );
}
