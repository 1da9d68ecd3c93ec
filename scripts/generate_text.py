"""Let a model, plain or steered, answer an instruction or continue a text: the slow, plain reference loop."""

from __future__ import annotations

from pathlib import Path

from toast.adapter_file import load_adapter_for
from toast.chat_template import load_chat_template
from toast.checkpoint import load_model
from toast.generate import generate_plain, generate_steered, greedy, sampler
from toast.hashing import backbone_hash
from toast.prompts import format_alpaca, format_vicuna
from toast.settings import command, run_command, special_ids
from toast.steering import SteeredModel
from toast.tokenizer import load_tokenizer
from toast.trainer import limit_threads

DESCRIPTION = """\
Answer instructions (or continue texts, with --format none) and print what comes out.

example:
  python generate_text.py --model runs/base --adapter runs/tuned/adapter.safetensors "Name three fruits."
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--adapter", type=Path, help="an adapter of this model (.safetensors)")
    parser.add_argument("--strength", type=float, default=1.0, help="scale of the steering")
    parser.add_argument(
        "--format", choices=("alpaca", "vicuna", "chat", "none"), default="alpaca", help="prompt format"
    )
    parser.add_argument("--tokens", type=int, default=100, help="longest answer")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest token")
    parser.add_argument("--top-k", type=int, default=40, help="sample from so many likeliest tokens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("text", nargs="+", help="instructions, or texts to continue")
    arguments = parser.parse_args()

    limit_threads()
    model = load_model(arguments.model).eval()
    steered = None
    if arguments.adapter:
        steered = SteeredModel(model, load_adapter_for(arguments.adapter, backbone_hash(arguments.model))[0])
    tokenizer = load_tokenizer(arguments.model)
    special = special_ids(model.config)
    formats = {"alpaca": format_alpaca, "vicuna": lambda text: format_vicuna([], text), "none": lambda text: text}
    start = [special.bos]
    if arguments.format == "chat":
        template, start = load_chat_template(arguments.model), []  # a template writes its own beginning
        formats["chat"] = lambda text: template.render([{"role": "user", "content": text}], add_generation_prompt=True)
    for text in arguments.text:
        prompt = [*start, *tokenizer.encode(formats[arguments.format](text), add_special_tokens=False).ids]
        temperature = arguments.temperature
        choose = greedy if temperature == 0 else sampler(temperature, arguments.top_k, arguments.seed)
        if steered is None:
            ids, _ = generate_plain(model, prompt, arguments.tokens, choose, special.eos)
        else:
            ids, _ = generate_steered(steered, prompt, arguments.tokens, choose, special.eos, arguments.strength)
        print(f"> {text}\n{tokenizer.decode(ids, skip_special_tokens=True).strip()}\n")


if __name__ == "__main__":
    run_command(main)
