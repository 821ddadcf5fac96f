"""What RESULTS.md and peers.json say about everybody who took part in a generation row."""

from __future__ import annotations

from collections.abc import Sequence

from contest import Contestant, Record, Screening
from peers import PeerContestant
from prompts import Prompts
from rows import span, table
from tokenizers import Tokenizer

SAME = "same text as transformers f32"


def texts(record: Record) -> dict[str, str]:
    """Answers by prompt."""
    return dict(zip(record.inputs.texts, (answer.text for answer in record.answers())))


def same_share(ours: dict[str, str], others: dict[str, str]) -> float | None:
    """Share of the prompts in both that were answered alike, word for word; None where there is none in both."""
    common = ours.keys() & others.keys()
    return round(sum(ours[prompt] == others[prompt] for prompt in common) / len(common), 4) if common else None


def same_cell(record: Record, exact: dict[str, str]) -> str:
    """The share in a table."""
    share = same_share(texts(record), exact)
    return "not measured" if share is None else f"{share:.1%}"


def screening(screening: Screening, exact: dict[str, str]) -> str:
    """Everybody's one pass on the sample, fastest first, and why some are not in the repeats."""
    ranking = sorted(screening.records.values(), key=Record.median, reverse=True)
    rows = [
        [one.contestant.describe(), one.contestant.precision, f"{one.median():.1f}", same_cell(one, exact)]
        for one in ranking
    ]
    text = "## Generation: screening\n\n"
    text += f"One pass of everybody over {screening.sample.describe()}, after a warm-up. "
    text += "Into the repeats go, for every row, our fastest variant and the tool's fastest setting it admits.\n\n"
    text += table(["contestant", "precision", "new tokens/s", SAME], rows)
    refused = "".join(f"\n- {name}: {reason}" for name, reason in screening.refusals.items())
    return text + (f"\n\nOut:\n{refused}" if refused else "")


def repeats(prompts: Prompts, records: dict[Contestant, Record], exact: dict[str, str], tokenizer: str) -> str:
    """The paired repeats on all prompts."""
    rows = []
    for contestant, record in records.items():
        low, high = span(record.rates())
        rows.append(
            [contestant.describe(), f"{record.median():.1f}", f"{low:.1f}..{high:.1f}", same_cell(record, exact)]
        )
    lengths = [len(row) for row in Tokenizer.from_file(tokenizer).encode_batch(prompts.texts, add_special_tokens=False)]
    passages = len({question.passage for question in prompts.questions})
    text = f"## Generation\n\n{prompts.describe()}, on {passages} passages; "
    text += f"{sum(lengths) / len(lengths):.0f} tokens per prompt on average, {min(lengths)} to {max(lengths)}.\n\n"
    return text + table(["contestant", "new tokens/s", "spread", SAME], rows)


def peers(
    tool: str,
    tried: Sequence[PeerContestant],
    records: dict[Contestant, Record],
    screening: Screening,
    exact: dict[str, str],
) -> list[dict]:
    """Every setting of a tool: what it did in the screening, in the repeats if it got there, or why it is out."""
    found = []
    for peer in (peer for peer in tried if peer.peer.module == tool):
        if reason := screening.refusals.get(peer.describe()):
            found.append({"tool": peer.describe(), "out": reason})
            continue
        screened, record = screening.records[peer], records.get(peer)
        row = {"peer_tool": peer.describe(), "precision": peer.precision, "screening": round(screened.median(), 4)}
        if record:
            row |= {"median": round(record.median(), 4), "spread": span(record.rates())}
        found.append(row | {"same_texts_as_transformers_f32": same_share(texts(record or screened), exact)})
    return found
