import { render } from "preact";
import { startAddresses } from "./chat/chat-address.js";
import { followOtherTabs } from "./chat/history/conversations.js";
import { startSharedLinks } from "./chat/shared-link.js";
import { Page } from "./page.js";
import { startSession } from "./session.js";

startSession();
followOtherTabs();
startSharedLinks();
startAddresses();
const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
