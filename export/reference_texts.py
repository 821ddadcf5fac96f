"""The texts on which encoders are compared with their reference implementations.

Written for this project. They cover what has gone wrong in such pipelines before: single characters, blank strings,
other scripts, combining marks, figures, repeated texts, and texts longer than any evaluator reads.
"""

from __future__ import annotations

import random

SENTENCES = [
    "The harbour of Lisbon was rebuilt after the earthquake of 1755 destroyed most of the lower city.",
    "A beam of light needs about eight minutes and twenty seconds to travel from the Sun to the Earth.",
    "The committee voted nine to four against the proposal, and the chairman resigned the same evening.",
    "Bees tell each other where flowers are by dancing on the comb inside the dark hive.",
    "In the third quarter the company sold 1,284,500 engines, 12.5 % more than in the year before.",
    "Granite forms when molten rock cools slowly, far below the surface.",
    "She learned to play the violin at four, the organ at nine, and wrote her first opera at sixteen.",
    "The bridge carries two railway tracks and, since 1998, a footpath for cyclists.",
    "Nobody had expected the river to rise by more than two metres in a single night.",
    "Salt lowers the freezing point of water, which is why it is spread on winter roads.",
    "The museum keeps a letter in which the painter complains about the price of blue.",
    "According to the report, the pump failed because a valve worth three dollars had been fitted the wrong way round.",
    "Penguins live in the south, polar bears in the north, and they meet only in zoos and cartoons.",
    "The treaty was signed in Vienna in June and ratified by all but one of the parliaments.",
    "A compiler turns the text of a program into instructions that a processor can execute.",
    "After the strike ended, the trains ran again, though with shorter carriages and longer delays.",
    "The village school has twenty-three pupils, two teachers and a goat.",
    "Vaccines train the immune system without causing the disease they protect against.",
    "The lighthouse keeper noted the weather four times a day for thirty-one years.",
    "Prices of wheat fell in spring and recovered in autumn when the harvest in the east turned out poor.",
    "The first edition had four hundred errors; the second corrected them and added five hundred new ones.",
    "Copper conducts electricity better than iron, and silver better than both.",
    "The orchestra refused to play until the heating in the concert hall was repaired.",
    "Mount Etna has been erupting, with pauses, for about half a million years.",
]

SHORT = ["", " ", ".", "?", "a", "7", "no", "Paris", "yes!", "1969", "the", "N/A", "...", "😀", "ß", "你好", "\t\n", "42.5 %"]

UNICODE = [
    "El Niño warms the Pacific; Müller, Ångström and Šimić measured it in Reykjavík.",
    "Ｆｕｌｌ ｗｉｄｔｈ letters, ﬁne ligatures and the Roman numeral Ⅻ.",
    "Москва — столица России, а Санкт-Петербург был ею до 1918 года.",
    "東京は日本の首都です。人口は約1400万人です。",
    "The café\u0301 menu: cre\u0300me bru\u0302le\u0301e €7.50, thé\u00a0vert €3 — “très bon” 👍🏽🇫🇷",
    "İstanbul'da ılık bir gün: sıcaklık 21 °C, nem %55.",
    "مرحبا بالعالم، هذه جملة قصيرة. שלום עולם.",
    "x² + y² = r²; ∑ᵢ aᵢ ≤ ∞; naïve façade; soft\u00adhyphen; zero\u200bwidth.",
]

ANSWERS = [
    ("eight minutes and twenty seconds", "About 8 minutes and 20 seconds."),
    ("Vienna", "The treaty was signed in Vienna."),
    ("Vienna", "Vienna"),
    ("Vienna", "vienna."),
    ("Vienna", "It was signed in Lisbon."),
    ("twenty-three", "23 pupils"),
    ("1755", "The earthquake happened in 1755."),
    ("1755", "1756"),
    ("a valve had been fitted the wrong way round", "The pump failed due to a wrongly installed valve."),
    ("a valve had been fitted the wrong way round", "I do not know."),
    ("Salt lowers the freezing point of water.", "Water with salt in it freezes at a lower temperature."),
    ("Salt lowers the freezing point of water.", "Salt raises the freezing point of water."),
    ("silver", "copper"),
    ("The chairman resigned.", "The chairman did not resign."),
    ("Bees communicate by dancing.", "Bees dance to say where flowers are."),
    ("Bees communicate by dancing.", "Bees bees bees bees bees bees bees bees bees bees bees bees"),
]


def passage(words: int, seed: int) -> str:
    """A text of exactly so many words, made of whole sentences as far as they go."""
    chooser = random.Random(seed)
    found: list[str] = []
    while len(found) < words:
        found += chooser.choice(SENTENCES).split()
    return " ".join(found[:words])


def single_texts() -> list[str]:
    """Texts of one to far more tokens than an encoder reads."""
    lengths = (1, 2, 5, 12, 30, 60, 90, 130, 180, 220, 300, 400)
    return SHORT[:12] + UNICODE + SENTENCES[:3] + [passage(words, seed) for seed, words in enumerate(lengths)]


def pairs(count: int) -> list[tuple[str, str]]:
    """(reference, output) pairs: short answers, other scripts, odd strings, and passages of growing length."""
    found = list(ANSWERS[: count // 3])
    found += [(text, text) for text in (SENTENCES[0], UNICODE[3])]
    found += [(UNICODE[i], UNICODE[(3 * i + 1) % len(UNICODE)]) for i in range(min(len(UNICODE), count // 8))]
    found += [(SENTENCES[i], SHORT[i]) for i in range(count // 6)]
    lengths = (3, 8, 20, 45, 80, 120, 200, 260, 330, 400)
    for index in range(count - len(found)):
        reference = passage(lengths[index % len(lengths)], index)
        # Every third output repeats the reference's beginning, so that high, middling and low scores all occur.
        output = passage(lengths[(index * 7 + 2) % len(lengths)], index if index % 3 == 0 else 1000 + index)
        found.append((reference, output))
    return found
