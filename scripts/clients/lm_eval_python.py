# /// script
# dependencies = ["lm-eval[api]==0.4.13"]
# ///
"""lm-evaluation-harness: its models of an API, on requests of our own (its tasks are data sets of a hub)."""

import math

from harness import MODEL, URL, check, hold, report
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

completions = LocalCompletionsAPI(
    model=MODEL, base_url=f"{URL}/completions", tokenizer_backend="remote", num_concurrent=1, max_retries=1
)


def instances(kind: str, arguments: list[tuple]) -> list[Instance]:
    return [Instance(request_type=kind, doc={}, arguments=one, idx=at) for at, one in enumerate(arguments)]


@check("the likelihood of continuations, and which are greedy")
def likelihood():
    asked = [("The capital of France is", " Paris"), ("The capital of France is", " banana")]
    (likely, greedy), (unlikely, other) = completions.loglikelihood(instances("loglikelihood", asked))
    hold(likely > unlikely and not other and not math.isnan(likely), f"{likely}, {unlikely}")
    hold(isinstance(greedy, bool), "no verdict")


@check("the likelihood of a text, rolling")
def rolling():
    (value,) = completions.loglikelihood_rolling(instances("loglikelihood_rolling", [("The sky is blue.",)]))
    hold(value < 0, f"{value}")


@check("text until a stop string")
def until():
    asked = [("Count: one, two, three,", {"until": ["\n"], "max_gen_toks": 16, "temperature": 0})]
    (text,) = completions.generate_until(instances("generate_until", asked))
    hold(text and "\n" not in text, f"{text!r}")


@check("chat until a stop string")
def chat():
    model = LocalChatCompletion(model=MODEL, base_url=f"{URL}/chat/completions", num_concurrent=1, max_retries=1)
    prompt = model.apply_chat_template([{"role": "user", "content": "Say hello."}])
    asked = [(prompt, {"until": ["\n"], "max_gen_toks": 16, "temperature": 0})]
    (text,) = model.generate_until(instances("generate_until", asked))
    hold(text and "\n" not in text, f"{text!r}")


report()
