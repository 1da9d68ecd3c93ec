import { writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readHubSettings } from "../../src/hub/hub-settings.js";
import { temporaryFolder } from "../convert/tiny-folder.js";

describe("the hub's settings", () => {
  it("lie where huggingface_hub has them", async () => {
    const home = temporaryFolder();
    expect(await readHubSettings({ HF_HOME: home })).toMatchObject({
      endpoint: "https://huggingface.co",
      token: null,
      cacheDir: join(home, "hub"),
      convertedDir: join(home, "toast-serve"),
      offlineBecause: null,
    });
    expect(await readHubSettings({ XDG_CACHE_HOME: home })).toMatchObject({
      cacheDir: join(home, "huggingface", "hub"),
    });
    expect((await readHubSettings({ HF_HOME: "~/somewhere" })).cacheDir).toBe(join(homedir(), "somewhere", "hub"));
    const apart = {
      HF_HOME: home,
      HF_HUB_CACHE: "/cache",
      TOAST_CACHE: "/converted",
      HF_ENDPOINT: "https://hub.example//",
    };
    expect(await readHubSettings(apart)).toMatchObject({
      endpoint: "https://hub.example",
      cacheDir: "/cache",
      convertedDir: "/converted",
    });
  });

  it("take the token of the environment before the one of a login", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "token"), "hf_file\n");
    const token = async (more: Record<string, string>) => (await readHubSettings({ HF_HOME: home, ...more })).token;
    expect(await token({})).toBe("hf_file");
    expect(await token({ HF_TOKEN: " hf_given\n" })).toBe("hf_given");
    expect(await token({ HF_TOKEN: "" })).toBe("hf_file");
    expect(await token({ HF_TOKEN_PATH: join(home, "none") })).toBeNull();
    expect(await token({ HF_HUB_DISABLE_IMPLICIT_TOKEN: "true" })).toBeNull();
  });

  it("know the words for yes", async () => {
    const offline = async (value: string) => (await readHubSettings({ HF_HUB_OFFLINE: value })).offlineBecause;
    for (const yes of ["1", "on", "YES", "True"]) expect(await offline(yes)).toBe("HF_HUB_OFFLINE");
    for (const no of ["0", "", "off"]) expect(await offline(no)).toBeNull();
    expect((await readHubSettings({ TRANSFORMERS_OFFLINE: "1" })).offlineBecause).toBe("TRANSFORMERS_OFFLINE");
  });

  it.each([
    [
      { HF_ENDPOINT: "hub.example" },
      "HF_ENDPOINT must be an address such as https://huggingface.co; got 'hub.example'.",
    ],
    [{ HF_ENDPOINT: "ftp://hub.example" }, "HF_ENDPOINT must be an address"],
    [{ HF_TOKEN: "hf_a b" }, "HF_TOKEN has characters that no token has."],
  ])("are refused with a sentence: %j", async (environment, message) => {
    await expect(readHubSettings(environment)).rejects.toThrow(message);
    await expect(readHubSettings(environment)).rejects.not.toThrow("hf_a");
  });
});
