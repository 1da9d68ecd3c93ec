"""What routing by prefix and steering is worth, and what becomes of requests when a replica dies or drains."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import re
import signal
import statistics
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toast.data import DataError
from toast.files import write_json
from toast.replicas import Replica, haproxy_before, postgres, replicas_of
from toast.settings import command, run_command

DESCRIPTION = """\
Start three replicas of one model behind HAProxy (deploy/haproxy/haproxy.cfg), with one Postgres, all on loopback.

First chats: five system prompts × three steerings, several conversations of each, turn by turn, hashed as the
configuration has it and round robin, in turn, each time with fresh replicas. Printed: the share of prompt tokens that
prefix caches had (from the replicas' own counters), and the median time to the first token as clients saw it.

Then faults, under the same load and people who vote in the arena: one replica is killed and started again, another one
is told to go. Every client must get an answer or an error that may be tried again, and every vote that was acknowledged
must be stored. Exit status 1 when that does not hold.

Needs a built server (npm run build), haproxy and postgresql.

example:
  python measure_routing.py --model ../test/toast-tiny --out routing.json
"""
REPLICAS = 3
PROMPTS = {
    "pirate": "You are a pirate who answers questions about the sea, its winds and its harbours",
    "cook": "You are a cook who explains how to prepare simple meals from what is in the kitchen",
    "guide": "You are a guide who shows visitors around an old town and knows all its houses",
    "teacher": "You are a patient teacher who helps children with reading, writing and numbers",
    "gardener": "You are a gardener who gives advice on soil, seeds, water, light and the seasons",
}
RULE = "Rule {number} of the {name}: answer in short and friendly sentences, and never leave out what matters."
TURNS = [
    "Good morning! What should I know before we begin today?",
    "Can you give me one example of what you mean by that?",
    "What would you do first, if you were in my place?",
    "Thank you. What should I remember of all this?",
    "And what comes next?",
    "What do most people get wrong?",
]
RETRYABLE = {408, 409, 429, 500, 502, 503, 504}
"""Statuses that OpenAI's and Anthropic's clients try again by themselves."""


@dataclass(frozen=True)
class Chat:
    """What one conversation is about: who answers, and what steers him."""

    number: int
    system: str
    model: str
    strength: float | None

    def body(self, messages: list[dict[str, str]], tokens: int) -> dict[str, Any]:
        steering = {} if self.strength is None else {"steering": {"strength": self.strength}}
        return {
            "model": self.model,
            "messages": messages,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "ignore_eos": True,
            **steering,
        }


@dataclass
class Outcome:
    """What clients met, from all threads."""

    first_tokens: list[float] = field(default_factory=list)
    """Seconds, of answers."""
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """What is neither an answer nor to be tried again."""
    votes: dict[str, str] = field(default_factory=dict)
    """Acknowledged, by battle."""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="a converted model folder")
    parser.add_argument("--conversations", type=int, default=1, help="of each system prompt and steering")
    parser.add_argument("--turns", type=int, default=6, choices=range(1, len(TURNS) + 1), help="of a conversation")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--rules", type=int, default=6, help="sentences of a system prompt")
    parser.add_argument("--clients", type=int, default=4, help="conversations at the same time")
    parser.add_argument("--rounds", type=int, default=2, help="how often each routing is measured")
    parser.add_argument("--cache-mb", type=int, default=256, help="of each replica; half of it keeps prefixes")
    parser.add_argument("--fault-seconds", type=float, default=20, help="of load before and after each fault")
    parser.add_argument("--seed", type=int, default=1, help="of the order of conversations")
    parser.add_argument("--out", type=Path, help="file for the figures, .json")
    arguments = parser.parse_args()
    with postgres() as database:
        words = ["--threads", "1", "--cache-mb", str(arguments.cache_mb), "--database-url", database]
        words += ["--drain-seconds", "30", "--battles-per-minute", "100000", "--battle-pace", "100000"]
        words += ["--log-format", "json"]
        rounds = [
            {"routing": name, **routed(arguments, words, balance)}
            for _ in range(arguments.rounds)
            for name, balance in (("hashed", None), ("round robin", "roundrobin"))
        ]
        faults = faulted(arguments, words)
    routing = {name: summary([one for one in rounds if one["routing"] == name]) for name in ("hashed", "round robin")}
    for name, figures in routing.items():
        print(
            f"{name}: {figures['hit_rate']:.1%} of prompt tokens were cached, "
            f"median time to first token {1000 * figures['median_first_token']:.0f} ms"
        )
    ratio = routing["hashed"]["hit_rate"] / routing["round robin"]["hit_rate"]
    print(f"hashed / round robin: {ratio:.2f} × the hit rate")
    print(f"faults: {json.dumps(faults)}")
    if arguments.out:
        settings = {name: str(value) for name, value in vars(arguments).items() if name != "out"}
        write_json(arguments.out, {"settings": settings, "rounds": rounds, "routing": routing, "faults": faults})
    if faults["wrong"] or faults["votes_lost"]:
        raise SystemExit(1)


def summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "hit_rate": sum(one["hit"] for one in rounds) / sum(one["queried"] for one in rounds),
        "median_first_token": statistics.median(itertools.chain(*(one["first_tokens"] for one in rounds))),
    }


def routed(arguments, words: list[str], balance: str | None) -> dict[str, Any]:
    """One round of the load on fresh replicas."""
    with replicas_of(arguments.model, REPLICAS, words) as replicas, haproxy_before(replicas, balance) as url:
        chats = load(url, arguments)
        outcome = Outcome()
        with ThreadPoolExecutor(arguments.clients) as pool:
            list(pool.map(lambda chat: converse(url, chat, arguments, outcome), chats))
        if outcome.wrong or set(outcome.kinds) != {"answered"}:
            raise DataError(f"without any fault there was {dict(outcome.kinds)}: {outcome.wrong[:3]}")
        counters = [counters_of(replica) for replica in replicas]
    return {
        "hit": sum(hit for hit, _ in counters),
        "queried": sum(queried for _, queried in counters),
        "queried_of_each": [queried for _, queried in counters],
        "first_tokens": outcome.first_tokens,
    }


def load(url: str, arguments) -> list[Chat]:
    """Conversations of every system prompt with every steering, in a random order."""
    chosen = steerings(url)
    kinds = list(itertools.product(PROMPTS.items(), chosen)) * arguments.conversations
    random.Random(arguments.seed).shuffle(kinds)
    chats = []
    for number, ((name, prompt), (model, strength)) in enumerate(kinds):
        rules = [RULE.format(number=rule + 1, name=name) for rule in range(arguments.rules)]
        chats.append(Chat(number, " ".join([f"{prompt}.", *rules]), model, strength))
    return chats


def steerings(url: str) -> list[tuple[str, float | None]]:
    """Three of them: the base, its adapters, and the adapters at half their strength where there are too few."""
    with urllib.request.urlopen(f"{url}/v1/models") as response:
        base, *adapters = [model["id"] for model in json.load(response)["data"]]
    if not adapters:
        raise DataError(f"{base} has no adapter: a model with one is needed to steer in three ways")
    ways = [(base, None), *((adapter, 1) for adapter in adapters), *((adapter, 0.5) for adapter in adapters)]
    return ways[:3]


def counters_of(replica: Replica) -> tuple[int, int]:
    """Prompt tokens that the prefix cache had, and all that were looked up."""
    time.sleep(1.1)  # engines are asked once a second
    with urllib.request.urlopen(f"{replica.url}/metrics") as response:
        text = response.read().decode()

    def total(name: str) -> int:
        return sum(int(float(value)) for value in re.findall(rf"^toast_serve_{name}{{.*}} (\S+)$", text, re.MULTILINE))

    return total("prefix_cache_hits_total"), total("prefix_cache_queries_total")


def converse(url: str, chat: Chat, arguments, outcome: Outcome, stop: threading.Event | None = None) -> None:
    """All turns, each tried again until it is answered."""
    messages = [{"role": "system", "content": chat.system}]
    for turn in range(arguments.turns):
        messages.append({"role": "user", "content": f"({chat.number}) {TURNS[turn]}"})
        body = chat.body(messages, arguments.tokens)
        text = None
        while text is None:
            if stop is not None and stop.is_set():
                return
            text = asked(url, body, outcome)
        messages.append({"role": "assistant", "content": text})


def asked(url: str, body: dict[str, Any], outcome: Outcome) -> str | None:
    """An answer; None when there was none, which the outcome tells of."""
    begun = time.monotonic()
    first, text, ended, refused = None, "", False, None
    try:
        with_connection = connected(url)
        try:
            with_connection.request("POST", "/v1/chat/completions", json.dumps(body), JSON)
            response = with_connection.getresponse()
            if response.status != 200:
                return refusal(response.status, response.read().decode(errors="replace"), outcome)
            for line in response:
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    ended = True
                    break
                event = json.loads(line[6:])
                if "error" in event:
                    refused = event["error"]
                    continue
                delta = event["choices"][0]["delta"].get("content") if event["choices"] else None
                if delta:
                    first = first or time.monotonic()
                    text += delta
        finally:
            with_connection.close()
    except (OSError, http.client.HTTPException):
        ended = False
    if refused is not None:
        return refusal(503 if refused["code"] in INTERRUPTED else 400, json.dumps(refused), outcome)
    if not ended:
        outcome.kinds["connection lost"] += 1
        time.sleep(0.2)
        return None
    outcome.kinds["answered"] += 1
    outcome.first_tokens.append((first or time.monotonic()) - begun)
    return text


JSON = {"content-type": "application/json"}
INTERRUPTED = {"engine_stopped", "server_draining", "server_overloaded", "request_timeout"}
"""Codes of a stream's last line that may be tried again."""


def connected(url: str) -> http.client.HTTPConnection:
    place = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)


def refusal(status: int, said: str, outcome: Outcome) -> None:
    if status in RETRYABLE:
        outcome.kinds[f"refused, {status}"] += 1
        time.sleep(0.2)
    else:
        outcome.wrong.append(f"{status}: {said[:300]}")
        time.sleep(0.2)


def faulted(arguments, words: list[str]) -> dict[str, Any]:
    """One replica killed and one drained, under load; and what was stored of what was acknowledged."""
    outcome, stop = Outcome(), threading.Event()
    with replicas_of(arguments.model, REPLICAS, words) as replicas, haproxy_before(replicas) as url:
        chats = itertools.cycle(load(url, arguments))
        models = [model for model, _ in steerings(url)]
        lock = threading.Lock()

        def talk() -> None:
            while not stop.is_set():
                with lock:
                    chat = next(chats)
                converse(url, chat, arguments, outcome, stop)

        def judge(number: int) -> None:
            while not stop.is_set():
                judged(url, number, outcome)

        with ThreadPoolExecutor(arguments.clients + 2) as pool:
            work = [pool.submit(talk) for _ in range(arguments.clients)] + [pool.submit(judge, at) for at in range(2)]
            try:
                time.sleep(arguments.fault_seconds)
                killed, drained, kept = replicas
                killed.end(signal.SIGKILL)
                time.sleep(arguments.fault_seconds)
                killed.start()
                killed.wait_until_ready()
                time.sleep(2)
                drain_status = drained.end(signal.SIGTERM)
                time.sleep(arguments.fault_seconds)
            finally:
                stop.set()
            for one in work:
                one.result()
        stored = votes_of(kept)
    lost = [battle for battle, winner in outcome.votes.items() if stored.get(battle) != winner]
    return {
        "requests": dict(outcome.kinds),
        "wrong": outcome.wrong,
        "drained_exit_status": drain_status,
        "votes_acknowledged": len(outcome.votes),
        "votes_lost": len(lost),
        "models": models,
    }


def judged(url: str, number: int, outcome: Outcome) -> None:
    """One battle and its vote."""
    last = posted(url, "/v1/arena/battles", {"prompt": "Say hello.", "max_tokens": 8}, outcome)
    frames = [] if last is None else [line for line in last.split("\n\n") if line.startswith("data: {")]
    battle = json.loads(frames[-1][6:]) if frames else {}
    if battle.get("kind") != "complete":
        return
    winner = ("left", "right", "tie", "bothBad")[(len(outcome.votes) + number) % 4]
    vote = {"ballot": battle["ballot"], "winner": winner}
    if posted(url, f"/v1/arena/battles/{battle['id']}/vote", vote, outcome) is not None:
        outcome.votes[battle["id"]] = winner


def posted(url: str, path: str, body: dict[str, Any], outcome: Outcome) -> str | None:
    """The answer's text; None for a refusal or a lost connection, which the outcome tells of."""
    connection = connected(url)
    try:
        connection.request("POST", path, json.dumps(body), JSON)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException):
        outcome.kinds["arena: connection lost"] += 1
        time.sleep(0.2)
        return None
    finally:
        connection.close()
    if response.status == 200:
        outcome.kinds["arena: answered"] += 1
        return text
    return refusal(response.status, text, outcome)


def votes_of(replica: Replica) -> dict[str, str]:
    """As the store has them, asked of a replica itself: the export is an operator's."""
    with urllib.request.urlopen(f"{replica.url}/v1/arena/battles") as response:
        battles = [json.loads(line) for line in response]
    return {battle["id"]: battle["vote"]["winner"] for battle in battles if battle.get("vote")}


if __name__ == "__main__":
    run_command(main)
