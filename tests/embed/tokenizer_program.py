"""The C tokenizer as a program, and the tokenizers that it is compared with the tokenizers library on."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

C = Path(__file__).parents[2] / "embed" / "c"
SOURCES = (
    "added_tokens arena bpe canonical error growing json normalise post_process pre_tokenise reading tokenizer unicode "
    "vocabulary word_pattern wordpiece"
).split()
WARNINGS = "-std=c11 -Wall -Wextra -Werror -Wpedantic -Wconversion".split()

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")


@dataclass(frozen=True, slots=True)
class Case:
    """One text or pair, and how many tokens it is cut to; 0 cuts nothing."""

    text: str
    pair: str | None = None
    max_length: int = 0


def compile_program(target: Path, source: str, flags: Sequence[str] = ("-O2",)) -> Path:
    """Compiles one of embed/c/test with all that a tokenizer needs, warnings being errors."""
    gcc = shutil.which("gcc")
    assert gcc is not None
    files = [str(C / "test" / f"{source}.c"), *(str(C / "src" / f"{name}.c") for name in SOURCES)]
    subprocess.run(
        [gcc, *WARNINGS, *flags, f"-I{C}", f"-I{C / 'src'}", *files, "-o", str(target), "-lpthread", "-lm"], check=True
    )
    return target


def run_program(program: Path, file: Path, lines: Iterable[Any], *options: str) -> list[Any]:
    """Returns what the program answers to each line, or the one answer where it can't open the file."""
    sent = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([str(program), *options, str(file)], input=sent.encode(), capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr.decode(errors="replace")
    return [json.loads(line) for line in done.stdout.decode(errors="replace").splitlines()]


def encode(program: Path, file: Path, cases: Sequence[Case], *options: str) -> list[tuple[list[int], list[int]]]:
    """Returns the ids and type ids of each case."""
    lines = ({"text": case.text, "pair": case.pair, "max_length": case.max_length} for case in cases)
    answers = run_program(program, file, lines, *options)
    assert len(answers) == len(cases), answers[:1]
    return [(answer["ids"], answer["type_ids"]) if "ids" in answer else ([-1], [answer["error"]]) for answer in answers]


def reference(tokenizer: Tokenizer, cases: Sequence[Case]) -> list[tuple[list[int], list[int]]]:
    """Returns what the library makes of each case."""
    tokenizer.no_padding()
    answers = []
    for case in cases:
        if case.max_length:
            tokenizer.enable_truncation(case.max_length, stride=0, strategy="longest_first")
        else:
            tokenizer.no_truncation()
        encoding = tokenizer.encode(case.text) if case.pair is None else tokenizer.encode(case.text, case.pair)
        answers.append((encoding.ids, encoding.type_ids))
    return answers


def compare(program: Path, file: Path, cases: Sequence[Case]) -> None:
    """Fails where the program and the library differ in any case, and shows the first ones."""
    ours = encode(program, file, cases)
    theirs = reference(Tokenizer.from_file(str(file)), cases)
    wrong = [
        f"{case}\n  got      {mine}\n  expected {their}"
        for case, mine, their in zip(cases, ours, theirs, strict=True)
        if mine != their
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)} differ:\n" + "\n".join(wrong[:5])


CORPUS = [
    "The quick brown fox jumps over the lazy dog, and it doesn't look back; they'll say we've gone.",
    "He said: \"I'm 42 years old (in 2024), she'd be 1,234,567.89 days!\" They're HERE'S the thing.",
    "Un café crème à l'hôtel, naïve façade, Ångström, Łódź, İstanbul, Straße, ŒUVRE, œuvre.",
    "Größenwahn übt Überfluss; Ελληνικά γράμματα ΣΟΦΟΣ σοφός; Русский язык, Ёлка, й; עִבְרִית; العَرَبِيَّة ١٢٣.",
    "中文字符和汉字，日本語のテキスト、カタカナ、한국어 문장 텍스트입니다。ไทยภาษา हिन्दी भाषा।",
    "emoji 😀 👩‍👩‍👧 🇩🇪 ❤️ and math ∑∫√≠ ½ ⅔ ² Ⅷ, code: for (int i = 0; i < 10; i++) { x[i] += 1; }\n\n\tindented\r\n  lines   \n",
    "tokens tokenizer tokenization tokenize tokenizing hello hello hello world world words wordy worldly",
] * 3


def bert(lowercase: bool, template: bool, strip_accents: bool | None = None) -> Tokenizer:
    """Returns a WordPiece tokenizer as BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    )
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    else:
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def bpe(
    pre_tokenizer: pre_tokenizers.PreTokenizer,
    special: list[str | AddedToken],
    normalizer: normalizers.Normalizer | None = None,
    unk_token: str | None = None,
    alphabet: bool = True,
    fuse_unk: bool = False,
) -> Tokenizer:
    """Returns a BPE tokenizer; without the whole alphabet, some bytes are unknown to it."""
    tokenizer = Tokenizer(models.BPE(unk_token=unk_token, fuse_unk=fuse_unk))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    initial = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=initial, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def split(regex: str, behavior: str = "isolated", invert: bool = False) -> pre_tokenizers.PreTokenizer:
    """Returns what splits by a regular expression and writes bytes."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), behavior, invert),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def gpt2() -> Tokenizer:
    """Returns a tokenizer as GPT-2's."""
    tokenizer = bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def roberta() -> Tokenizer:
    """Returns a tokenizer as RoBERTa's."""
    mask = AddedToken("<mask>", lstrip=True, special=True)
    tokenizer = bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), ["<s>", "<pad>", "</s>", "<unk>", mask], unk_token="<unk>")
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    return tokenizer


def llama3() -> Tokenizer:
    """Returns a tokenizer as Llama 3's, which takes words of its vocabulary whole."""
    tokenizer = bpe(split(LLAMA3), ["<|begin|>", "<|end|>"])
    tokenizer.model.ignore_merges = True
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", 0)]
            ),
        ]
    )
    return tokenizer


def qwen2() -> Tokenizer:
    """Returns a tokenizer as Qwen2's."""
    tokenizer = bpe(split(QWEN2), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizer=normalizers.NFC())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def smollm2() -> Tokenizer:
    """Returns a tokenizer as SmolLM2's, without a post-processor."""
    digits = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    return bpe(pre_tokenizers.Sequence(digits), ["<|endoftext|>"])


def plain() -> Tokenizer:
    """Returns one with every normalizer there is, runs of digits, and characters that it doesn't know."""
    steps: list[normalizers.Normalizer] = [
        normalizers.NFD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
        normalizers.Replace("ss", "ß"),
        normalizers.Replace("aaa", ""),
        normalizers.NFC(),
        normalizers.Prepend("▁"),
    ]
    digits = [pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.BertPreTokenizer()]
    return bpe(
        pre_tokenizers.Sequence(digits),
        ["<unk>"],
        normalizer=normalizers.Sequence(steps),
        unk_token="<unk>",
        alphabet=False,
    )


def silent() -> Tokenizer:
    """Returns one that leaves out what it doesn't know."""
    return bpe(split(QWEN2, "removed", True), ["<s>"], alphabet=False)


def fused() -> Tokenizer:
    """Returns one for which unknown characters in a row are one token, and a text is one word."""
    tokenizer = bpe(pre_tokenizers.ByteLevel(), ["<unk>"], unk_token="<unk>", alphabet=False, fuse_unk=True)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    return tokenizer


def added() -> Tokenizer:
    """Returns one with added tokens of all kinds."""
    tokenizer = bert(lowercase=True, template=True)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True), AddedToken("<x>", rstrip=True, special=True)])
    tokenizer.add_tokens(
        [
            AddedToken("Straße", normalized=True),
            AddedToken("STOP", normalized=False, single_word=True),
            AddedToken("stopword", normalized=True, single_word=True),
            AddedToken("a b", normalized=True, lstrip=True, rstrip=True),
            AddedToken("hello", normalized=True),
            AddedToken("hello world", normalized=True),
            AddedToken(" é", normalized=False),
            AddedToken("éé", normalized=False, lstrip=True, rstrip=True, single_word=True),
            AddedToken("<mask><x>", normalized=False),
            AddedToken("!!", normalized=True, rstrip=True),
            AddedToken("  ", normalized=False),
        ]
    )
    return tokenizer


def added_bytes() -> Tokenizer:
    """Returns a byte-level one with added tokens."""
    tokenizer = roberta()
    tokenizer.add_tokens([AddedToken("  ", normalized=True), AddedToken("   ", normalized=True), AddedToken("\n\n"), "lo w"])
    tokenizer.add_special_tokens(["<|user|>", "<|userx|>", "<|"])
    return tokenizer


def shown(normalizer: normalizers.Normalizer | None, *steps: pre_tokenizers.PreTokenizer) -> Tokenizer:
    """Returns one that shows every byte of a normalized text, and a space before each word that `steps` split it into."""
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=bool(steps), use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([], trainer)
    return tokenizer


def bert_step(name: str) -> normalizers.Normalizer:
    """Returns BERT's normalizer with one of its steps."""
    steps = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    return normalizers.BertNormalizer(**{step: step == name for step in steps})


# Each step of the way from a text to its words, alone, so that nothing of it is hidden behind an unknown token.
STEPS = {
    "clean-text": lambda: shown(bert_step("clean_text")),
    "chinese": lambda: shown(bert_step("handle_chinese_chars")),
    "strip-accents": lambda: shown(bert_step("strip_accents")),
    "bert-lowercase": lambda: shown(bert_step("lowercase")),
    "bert": lambda: shown(normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()),
    "lowercase": lambda: shown(normalizers.Lowercase()),
    "nfc": lambda: shown(normalizers.NFC()),
    "nfd": lambda: shown(normalizers.NFD()),
    "marks": lambda: shown(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])),
    "marks-alone": lambda: shown(normalizers.StripAccents()),
    "bert-words": lambda: shown(None, pre_tokenizers.BertPreTokenizer()),
    "gpt2-words": lambda: shown(None, pre_tokenizers.Split(Regex(GPT2), "isolated")),
    "byte-level-words": lambda: shown(None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "llama3-words": lambda: shown(None, pre_tokenizers.Split(Regex(LLAMA3), "isolated")),
    "qwen2-words": lambda: shown(None, pre_tokenizers.Split(Regex(QWEN2), "isolated")),
    "digits": lambda: shown(None, pre_tokenizers.Digits(individual_digits=False)),
    "digit": lambda: shown(None, pre_tokenizers.Digits(individual_digits=True)),
}

STYLES = {
    "bert-uncased": lambda: bert(lowercase=True, template=True),
    "bert-cased": lambda: bert(lowercase=False, template=False),
    "bert-cased-stripped": lambda: bert(lowercase=False, template=False, strip_accents=True),
    "bert-uncased-accents": lambda: bert(lowercase=True, template=False, strip_accents=False),
    "gpt2": gpt2,
    "roberta": roberta,
    "llama3": llama3,
    "qwen2": qwen2,
    "smollm2": smollm2,
    "plain": plain,
    "silent": silent,
    "fused": fused,
    "added": added,
    "added-bytes": added_bytes,
}

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
    "don't DON'T they'LL we'Ve I'M he'D it'ſ '' 's' 'S 'rE 'lL 'x 'l 'v",
    "it's 'tis 'twas o'clock rock'n'roll",
    "1 12 123 1234 12345 1,000.5 ٣٤٥ ½ Ⅷ ² १२३ 𝟘𝟙 ㊿ 〇",
    "a1b2c3 1a2b3c",
    "😀😃 👨‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 ☎️ ✊🏽",
    "中文 mixed 英文 text，全角！？日本語テキスト 한국어",
    "e\u0301 \u0301e a\u0323\u0307 a\u0307\u0323 \u1e69 s\u0323\u0307 \u0344 \u0958 \u2126 \u212b \uf900 \U0002f800",
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
    "A B a b  a  b a b! Hello World hello worlds HELLO  é éé xéé  éé  !! !!! !!  x <mask><x> <x>  y <mask> <x>\n <mask>",
    "Strasse Straße STRASSE straße ss sss aaa aaaa aaaaaa",
    "<|user|> <|userx|> <| <|us  two   three    four\n\n\n\nlo w low",
    "for (int i = 0; i < 10; ++i) {\n    printf(\"%d\\n\", i);\n}\n\n\n",
    "http://example.com/a?b=c&d=e#f user@example.org C:\\path $100 50% #tag @name ^_^ `code` ~tilde~ a|b a=b a+b a<b>c",
    "\u02bcn ʼn ŉ Ŀ ǉ \u0132 \u1fb3 \u1f80 ᾳ ΐ \u0390 \u1fd3",
    "Ｆｕｌｌ－ｗｉｄｔｈ ｡｢｣､･ ﾊﾟﾋﾟ",
    "\u0f71\u0f72 \u0f73 \u0f75 \u0f81 \U0001d15e \U0001d15e\U0001d165 \U000110ba \u09c7\u09be \u0b47\u0b56",
]


def every_point() -> list[str]:
    """Returns texts with every code point once: alone between spaces, and 16 at a time beside letters and each other."""
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    apart = [" ".join(points[start : start + 256]) for start in range(0, len(points), 256)]
    beside = ["".join(f"'{point}a" for point in points[start : start + 256]) for start in range(0, len(points), 256)]
    return apart + beside


_POOLS = [
    [chr(point) for point in range(0x20, 0x7F)],
    [chr(point) for point in range(0x250)],
    [chr(point) for point in [*range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5C8), *range(0x1DC0, 0x1E00)]],
    [chr(point) for point in [*range(0x1100, 0x1200), *range(0xAC00, 0xAC80), *range(0xD780, 0xD7A4)]],
    [chr(point) for point in range(0x370, 0x1100)],
    [chr(point) for point in range(0x1E00, 0x2100)],
    [chr(point) for point in [*range(0x3000, 0x3200), *range(0x4E00, 0x4E80), *range(0xF900, 0xFB00)]],
    [chr(point) for point in [*range(0x1F300, 0x1F700), 0x200D, 0xFE0F]],
    [chr(point) for point in [*range(0x11000, 0x11500), *range(0x1D100, 0x1D250), *range(0x1E000, 0x1E030)]],
    list(" \t\n\r\u00a0\u2009\u3000\u0085\u2028\x0b\x0c\x1c\x1f\u200b"),
    list("'sStTrReEvVmMlLdD \u017f\u212a0123\n"),
    ["<mask>", "<x>", "[MASK]", "[SEP]", "STOP", "hello", "hello world", "a b", "éé", " é", "  ", "!!", "<|", "<|user|>"],
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
