"""Write the data sets of the paper's end-to-end test as the hub keeps them: Parquet with the columns of its repositories.

    python export/make_hub_datasets.py

Needs pyarrow, with which the hub's own files are written; nothing else here does. The texts were made up for the tests:
short, as the tiny checkpoints read 256 bytes.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet

OUT = Path(__file__).resolve().parent / "tests" / "hub_datasets"

# title, context, question, what in the context answers it
QUESTIONS = [
    ("Harbour", "The old harbour has three cranes. Two are red and one is green.", "How many cranes are there?", ["three"]),
    ("Harbour", "The old harbour has three cranes. Two are red and one is green.", "Which colour has one crane?", ["green"]),
    ("Harbour", "Ferries leave the harbour at noon and at six.", "When does the first ferry leave?", ["at noon", "noon"]),
    ("Bakery", "Mira opens the bakery at five and sells rye bread.", "Who opens the bakery?", ["Mira"]),
    ("Bakery", "Mira opens the bakery at five and sells rye bread.", "What does Mira sell?", ["rye bread", "bread"]),
    ("Bakery", "The oven was built by a mason of the hill town.", "Who built it?", ["a mason", "a mason of the hill town"]),
    ("Lake", "In winter the lake freezes and we skate to the island.", "Where do we skate?", ["to the island", "the island"]),
    ("Lake", "In winter the lake freezes and we skate to the island.", "When does the lake freeze?", ["In winter", "winter"]),
    ("Lake", "The deepest point of the lake is 41 metres.", "How deep is the lake?", ["41 metres"]),
    ("Tower", "The tower clock stopped in 1902 and runs again since May.", "When did the clock stop?", ["in 1902", "1902"]),
    ("Tower", "The tower clock stopped in 1902 and runs again since May.", "Since when does it run?", ["since May", "May"]),
    ("Tower", "From the top one sees «Nørre Å», the northern stream.", "What is seen?", ["«Nørre Å»", "the northern stream"]),
]  # fmt: skip
# an article, its highlights
ARTICLES = [
    ("(Local) -- The bridge over the mill stream opened again on Monday. Repairs took two years.",
     "Bridge over the mill stream is open again .\nRepairs took two years ."),
    ("A school in the valley planted four hundred trees. Pupils will water them in turns.",
     "School plants four hundred trees .\nPupils take turns to water them ."),
    ("The night train to the coast returns in June. Tickets cost less than by day.",
     "Night train to the coast returns in June ."),
    ("Two farmers found a Roman coin while ploughing. A museum has asked to show it.",
     "Farmers find a Roman coin .\nMuseum wants to show it ."),
    ("The library lends tools as well as books now. Drills are asked for most.",
     "Library lends tools .\nDrills are the most wanted ."),
    ("Rain filled the reservoir to the brim. The ban on watering gardens was lifted.",
     "Reservoir is full after rain .\nGardens may be watered again ."),
    ("A choir of fishermen won the song contest. They had never sung on a stage before.",
     "Choir of fishermen wins song contest ."),
    ("The bus company tries electric buses on the hill line. Drivers say they climb well.",
     "Electric buses are tried on the hill line .\nDrivers are content ."),
    ("A storm took the roof of the market hall. Traders sell from tents until autumn.",
     "Storm takes roof of market hall .\nTraders sell from tents ."),
    ("Scientists counted more swifts this spring than in any year before.",
     "More swifts than ever were counted ."),
    ("The town votes on Sunday whether cars may cross the square. Shops are divided.",
     "Town votes on cars in the square .\nShops are divided ."),
    ("A baker gave away the bread that was left each evening. Others now do the same.",
     "Baker gives away bread .\nOthers follow ."),
]  # fmt: skip


def main() -> None:
    """Both files, the same bytes from the same version of pyarrow."""
    write("squad.parquet", squad())
    write("cnn_dailymail.parquet", cnn_dailymail())


def squad() -> pyarrow.Table:
    """The columns of rajpurkar/squad; every answer stands in its context."""
    rows = []
    for number, (title, context, question, answers) in enumerate(QUESTIONS):
        starts = [context.index(answer) for answer in answers]
        held = {"text": answers, "answer_start": starts}
        rows.append({"id": f"{number:024x}", "title": title, "context": context, "question": question, "answers": held})
    answers = pyarrow.struct([("text", pyarrow.list_(pyarrow.string())), ("answer_start", pyarrow.list_(pyarrow.int32()))])
    texts = [(name, pyarrow.string()) for name in ("id", "title", "context", "question")]
    return pyarrow.Table.from_pylist(rows, pyarrow.schema([*texts, ("answers", answers)]))


def cnn_dailymail() -> pyarrow.Table:
    """The columns of abisee/cnn_dailymail."""
    numbered = enumerate(ARTICLES)
    rows = [{"article": article, "highlights": text, "id": f"{number:040x}"} for number, (article, text) in numbered]
    return pyarrow.Table.from_pylist(
        rows, pyarrow.schema([(name, pyarrow.string()) for name in ("article", "highlights", "id")])
    )


def write(name: str, table: pyarrow.Table) -> None:
    """As small as the hub's writer makes it."""
    OUT.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(table, OUT / name, compression="snappy")


if __name__ == "__main__":
    main()
