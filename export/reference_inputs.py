"""The texts whose logits are recorded: plain passages and questions, from five tokens to about three hundred."""

from __future__ import annotations

PLAIN = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "In 1987, 12,345 people paid $3.50 (about 7.25% more than in 1986).",
    "Le café où naïveté et Ångström se croisent — «vraiment»?",
    "Привет, мир! 你好,世界。 こんにちは 🌍👩‍🚀",
    "Water boils at 100 degrees Celsius at sea level. On a high mountain the air pressure is lower, so water boils at",
    'SELECT name, price\nFROM   products\nWHERE  price > 10.00\n  AND  category = "tools"\nORDER BY',
    "1. Preheat the oven to 180 degrees.\n2. Mix flour, sugar and butter.\n\n3.   Knead the dough\tfor ten minutes.\n4.",
    "The lighthouse keeper wrote in his log every evening. He noted the wind, the height of the waves and the ships he "
    "had seen. One night in November he wrote nothing at all, and for years afterwards people in the harbour argued "
    "about the reason. Some said that",
    "Photosynthesis turns light into chemical energy. Chlorophyll in the leaves absorbs mostly red and blue light. The "
    "energy splits water into hydrogen and oxygen; the oxygen leaves the plant, and the hydrogen helps to build sugar "
    "out of carbon dioxide from the air. At night the process stops, and the plant lives on what it has stored. Trees "
    "that lose their leaves in autumn must therefore store enough sugar in summer to last until",
    "The town library opened in 1904 in two rooms above the post office. It owned six hundred books, most of them given "
    "by a retired sea captain who had read them on his voyages and knew many by heart. For the first ten years there "
    "was one librarian, Agnes Holm, who lent the books, repaired their spines and kept the stove burning in winter. "
    "When the collection had grown to four thousand volumes the floor began to sag, and the postmaster complained that "
    "dust was falling on his stamps. The council decided to build a new house for the library on the market square. It "
    "was finished in 1921 and had a reading room with tall windows, a room for children and a cellar for newspapers. "
    "During the flood of 1953 the cellar filled with water to the ceiling, and volunteers carried wet newspapers to the "
    "school gymnasium, where they hung them on washing lines to dry. About a third could be saved. Since then the "
    "newspapers have been kept on the top floor. The reading room still has its tall windows, though the gas lamps have "
    "gone and the long oak tables carry sockets for computers. On Saturdays a retired teacher explains there how to read "
    "old handwriting, and people bring the letters of their grandparents, tied with string, in biscuit tins. A copy of "
    "the captain's list of the first six hundred books hangs beside the door. And every year on the day of the flood the "
    "librarians",
]

_PASSAGE = (
    "The Marlow bridge was built between 1829 and 1832 by the engineer William Tierney Clark. It crosses the river "
    "Thames and links two counties. A wooden bridge had stood there before, but it had fallen into disrepair. In 1965 "
    "the bridge was restored, and its chains were replaced by steel ones. A weight limit of three tonnes now protects "
    "it."
)

_REPORT = (
    "The city council voted on Tuesday to turn the disused railway line along the eastern embankment into a park. The "
    "plan, first proposed by residents nine years ago, foresees a path for walkers and cyclists four kilometres long, "
    "two hundred new trees and a small museum in the former signal box. Councillor Dana Petrov called the decision a "
    "gift to every child who grows up without a garden. Opponents had argued that the line should be kept for a future "
    "tram. The cost is estimated at eleven million, of which the state pays half. Work is to begin next spring, once "
    "the old sleepers, which were treated with tar oil, have been removed and the soil has been tested. The first "
    "section, between the harbour and the botanical garden, could open within two years."
)

_ANSWER = "Answer the question with a short phrase taken from the context."

# message lists; rendered with the model's own template and a generation prompt
CHATS = [
    [{"role": "user", "content": "What is the capital of Italy?"}],
    [{"role": "user", "content": "Name three colours."}],
    [{"role": "user", "content": "How many days are there in a week? Answer with a number."}],
    [{"role": "system", "content": "You answer in one word."}, {"role": "user", "content": "What do bees make?"}],
    [{"role": "user", "content": "Write a Python function that returns the larger of two numbers."}],
    [{"role": "user", "content": "Was heißt »Guten Morgen« auf Französisch? Und auf Japanisch (日本語)? 🙂"}],
    [{"role": "user", "content": f"{_ANSWER}\n\nContext: {_PASSAGE}\n\nQuestion: Who built the Marlow bridge?"}],
    [{"role": "user", "content": f"{_ANSWER}\n\nContext: {_PASSAGE}\n\nQuestion: When was the bridge restored?"}],
    [{"role": "user", "content": f"{_ANSWER}\n\nContext: {_PASSAGE}\n\nQuestion: What is the weight limit?"}],
    [{"role": "user", "content": f"Summarize the following article in two sentences.\n\n{_REPORT}"}],
    [
        {"role": "system", "content": "You are a careful assistant. You answer only from the given text."},
        {"role": "user", "content": f"{_REPORT}\n\nHow long is the path, and what does the project cost?"},
    ],
    [
        {"role": "user", "content": "I have 3 apples and buy 4 more. How many apples do I have?"},
        {"role": "assistant", "content": "You have 7 apples."},
        {"role": "user", "content": "I eat 2 of them. How many are left?"},
    ],
]

# rendered text only, for whoever implements the templates anew
TEMPLATE_CASES = [
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a lighthouse?"}],
    [{"role": "user", "content": "What is a lighthouse?"}],
    [{"role": "user", "content": "Ünïcödé «quotes», 日本語, emoji 👩‍🚀, \"double\" & <angle>\n\nand {{ braces }}"}],
    [{"role": "user", "content": "  leading and trailing spaces  \n"}],
    CHATS[-1],
]

# strings a tokenizer gets wrong easily
TOKENIZER_CASES = [
    "",
    "   ",
    "\n\n",
    "a  b   c    d\t\te\n\n\n f  ",
    "1234567890 3.14 0xFF 1,000,000",
    "x=1;y=22\r\nz=333\r\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 2; }  // sum",
    "I'm sure you're right, they'd say; IT'S OK, DON'T 's 'S",
    "don’t “quote” — dash… \u00a0nbsp\u2003em\u200bzero",
    "😀👩‍👩‍👧‍👦🇫🇷 e\u0301 é ﬁ Ⅷ ½ ²",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "<tool_call>{\"a\": 1}</tool_call>",
]
