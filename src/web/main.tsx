import { render } from "preact";
import { followOtherTabs } from "./chat/chat-state.js";
import { startSharedLinks } from "./chat/shared-link.js";
import { Page } from "./page.js";
import { startSession } from "./session.js";

startSession();
followOtherTabs();
startSharedLinks();
const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
