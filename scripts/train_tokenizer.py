"""Train a LLaMA-style tokenizer (BPE with byte fallback) and write tokenizer.json and tokenizer_config.json."""

from __future__ import annotations

from pathlib import Path

from toast.data import TextSource, read_documents
from toast.prompts import format_alpaca, read_alpaca
from toast.settings import command, run_command
from toast.tokenizer import save_tokenizer, train_tokenizer

DESCRIPTION = """\
Train a LLaMA-style BPE tokenizer with byte fallback: <unk> <s> </s>, 256 bytes, then learned pieces.
Every text decodes to itself; digits stand alone; pieces do not cross spaces or line breaks.

example:
  python train_tokenizer.py --text data/openwebtext.jsonl.xz:4 --text data/wikipedia.jsonl.xz:4 \\
      --vocab-size 4096 --out runs/tokenizer
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument(
        "--text", action="append", required=True, metavar="PATH[:MAX_MB]", help="text, as for pretrain_base.py"
    )
    parser.add_argument("--alpaca", help="an Alpaca .json(.xz) whose formatted entries are read too")
    parser.add_argument("--vocab-size", type=int, default=4096, help="pieces in all, specials and bytes included")
    parser.add_argument("--held-out-percent", type=float, default=2.0, help="share of documents not read")
    parser.add_argument("--max-length", type=int, default=1024, help="model_max_length to write down")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    texts = list(
        read_documents([TextSource.parse(value) for value in arguments.text], "train", arguments.held_out_percent)
    )
    if arguments.alpaca:
        for entry in read_alpaca(Path(arguments.alpaca)).train:
            texts.append(format_alpaca(entry.instruction, entry.input) + entry.output)
    tokenizer = train_tokenizer(texts, arguments.vocab_size)
    save_tokenizer(tokenizer, arguments.out, arguments.max_length)
    size = sum(len(text) for text in texts) / 1e6
    print(f"{tokenizer.get_vocab_size()} pieces from {len(texts)} texts, {size:.1f}M characters -> {arguments.out}")


if __name__ == "__main__":
    run_command(main)
