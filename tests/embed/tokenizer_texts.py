"""Texts that are hard to tokenize, and random ones."""

# ruff: noqa: RUF001  (characters that look alike are what they are here for)

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.embed.tokenizer_program import Case

HARD = [
    "",
    " ",
    "   ",
    "\n",
    " \n \n ",
    "\r\n\r\n",
    "a",
    "Hello, World!",
    "  leading and trailing   ",
    "trailing newline\n",
    "tabs\tand\u00a0no-break\u3000ideographic\u2003em\u200bzero\u2028line\u0085next\x0b\x0c",
    "don't DON'T they'LL we'Ve I'M he'D it'ſ it'ſa '' 's' 'S 'rE 'lL 'x 'l 'v",
    "it's 'tis 'twas o'clock rock'n'roll",
    "1 12 123 1234 12345 1,000.5 ٣٤٥ ½ Ⅷ ² १२३ 𝟘𝟙 ㊿ 〇",
    "a1b2c3 1a2b3c",
    "😀😃 👨‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 ☎️ ✊🏽",
    "中文 mixed 英文 text，全角！？日本語テキスト 한국어",
    "e\u0301 \u0301e a\u0323\u0307 a\u0307\u0323 \u1e69 s\u0323\u0307 \u0344 \u0958 \u2126 \u212b \uf900 \U0002f800",
    "a\u05b1\u05b0",  # marks whose classes are neighbours, in the wrong order
    "Å A\u030a ﬁ ﬂ ﬃ ß ẞ İ I\u0307 ı ǅ Σ ς Ω ω Ⓐ Ａ",
    "각 \u1100\u1161\u11a8 \uac00\u11a8 가\u11a7 \u1100\u1161 \u1161\u11a8 힣",
    "שָׁלוֹם עולם مرحبا بالعالم لَا إِلٰهَ नमस्ते ไทยน้ำ",
    "\u0000\u0001\u0007\u001b\u007f\u0080\u009f\ufffd\ufeff\u00ad\u200e\u202e",
    "\ue000\uf8ff\U000f0000\U0010fffd\ufdd0\uffff\U0001ffff",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101 + " " + "é" * 100 + " " + "中" * 101,
    "word" * 60,
    "a" * 5000,
    "ab " * 2000,
    " " * 3000,
    " " * 500 + "a",
    "!?" * 300,
    "[CLS] [SEP] [MASK][PAD] [UNK] [cls] <s></s> <mask>  <mask> x<mask>y <pad><|endoftext|>after <|end|><|begin|>",
    "[MASK]ed [MASK], un[MASK]",
    "STOP STOPS STOP. _STOP xSTOP STOP-STOP éSTOP stopword Stopword stopwords stopword\u0301",
    "A B a b  a  b a b! Hello World hello worlds HELLO  é éé xéé  éé  !! !!! !!  x",
    "<mask><x> <x>  y <mask> <x>\n <mask>",
    "Strasse Straße STRASSE straße ss sss aaa aaaa aaaaaa",
    "<|user|> <|userx|> <| <|us  two   three    four\n\n\n\nlo w low",
    'for (int i = 0; i < 10; ++i) {\n    printf("%d\\n", i);\n}\n\n\n',
    "http://example.com/a?b=c&d=e#f user@example.org C:\\path $100 50% #tag @name ^_^ `code` ~tilde~ a|b a=b a+b a<b>c",
    "\u02bcn ʼn ŉ Ŀ ǉ \u0132 \u1fb3 \u1f80 ᾳ ΐ \u0390 \u1fd3",
    "Ｆｕｌｌ－ｗｉｄｔｈ ｡｢｣､･ ﾊﾟﾋﾟ",
    "\u0f71\u0f72 \u0f73 \u0f75 \u0f81 \U0001d15e \U0001d15e\U0001d165 \U000110ba \u09c7\u09be \u0b47\u0b56",
]


def every_point(apart: bool = False) -> list[str]:
    """Returns texts with every code point once, behind an apostrophe and before a letter, or apart between spaces."""
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    parts = [f"{point} " if apart else f"'{point}a" for point in points]
    return ["".join(parts[start : start + 256]) for start in range(0, len(parts), 256)]


_POOLS = [
    [chr(point) for point in range(0x20, 0x7F)],
    [chr(point) for point in range(0x250)],
    [
        chr(point)
        for point in [*range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5C8), *range(0x1DC0, 0x1E00)]
    ],
    [chr(point) for point in [*range(0x1100, 0x1200), *range(0xAC00, 0xAC80), *range(0xD780, 0xD7A4)]],
    [chr(point) for point in range(0x370, 0x1100)],
    [chr(point) for point in range(0x1E00, 0x2100)],
    [chr(point) for point in [*range(0x3000, 0x3200), *range(0x4E00, 0x4E80), *range(0xF900, 0xFB00)]],
    [chr(point) for point in [*range(0x1F300, 0x1F700), 0x200D, 0xFE0F]],
    [chr(point) for point in [*range(0x11000, 0x11500), *range(0x1D100, 0x1D250), *range(0x1E000, 0x1E030)]],
    list(" \t\n\r\u00a0\u2009\u3000\u0085\u2028\x0b\x0c\x1c\x1f\u200b"),
    list("'sStTrReEvVmMlLdD \u017f\u212a0123\n"),
    [
        "<mask>",
        "<x>",
        "[MASK]",
        "[SEP]",
        "STOP",
        "hello",
        "hello world",
        "a b",
        "éé",
        " é",
        "  ",
        "!!",
        "<|",
        "<|user|>",
    ],
    ["e\u0301", "A\u030a", "\u0344", "\u1e69", "가", "ﬁ", "Å", "\u1f82", "q\u0307\u0323", "\u0958"],
]


def random_texts(count: int, seed: int, longest: int = 24) -> list[str]:
    """Returns random texts over all of Unicode, most of them of a few kinds of characters."""
    chance = random.Random(seed)
    texts = []
    for _ in range(count):
        pools = chance.sample(_POOLS, chance.randint(1, 4))
        length = chance.randint(0, longest)
        parts = [
            chr(chance.choice([chance.randrange(0xD800), chance.randrange(0xE000, 0x110000)]))
            if chance.random() < 0.08
            else chance.choice(chance.choice(pools))
            for _ in range(length)
        ]
        texts.append("".join(parts))
    return texts


def pairs_and_cuts(texts: Sequence[str], seed: int) -> list[Case]:
    """Returns texts alone and in pairs, cut and not."""
    chance = random.Random(seed)
    cases = []
    for text in texts:
        other = chance.choice(texts)
        cases.append(Case(text, other))
        cases.append(Case(text, None, chance.randint(4, 24)))
        cases.append(Case(text, other, chance.randint(4, 40)))
    return cases
