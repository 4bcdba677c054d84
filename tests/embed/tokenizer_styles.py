"""Tokenizers of all styles, trained on a few lines, and each step of them alone."""

# ruff: noqa: RUF001  (characters that look alike are what they are here for)

from __future__ import annotations

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

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")


CORPUS = [
    "The quick brown fox jumps over the lazy dog, and it doesn't look back; they'll say we've gone.",
    "He said: \"I'm 42 years old (in 2024), she'd be 1,234,567.89 days!\" They're HERE'S the thing.",
    "Un café crème à l'hôtel, naïve façade, Ångström, Łódź, İstanbul, Straße, ŒUVRE, œuvre.",
    "Größenwahn übt Überfluss; Ελληνικά γράμματα ΣΟΦΟΣ σοφός; Русский язык, Ёлка, й; עִבְרִית; العَرَبِيَّة ١٢٣.",
    "中文字符和汉字，日本語のテキスト、カタカナ、한국어 문장 텍스트입니다。ไทยภาษา हिन्दी भाषा।",
    "emoji 😀 👩‍👩‍👧 🇩🇪 ❤️ and math ∑∫√≠ ½ ⅔ ² Ⅷ, code: for (int i = 0; i < 10; i++)",
    "{ x[i] += 1; }\n\n\tindented\r\n  lines   \n",
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
    tokenizer = bpe(
        pre_tokenizers.ByteLevel(add_prefix_space=True), ["<s>", "<pad>", "</s>", "<unk>", mask], unk_token="<unk>"
    )
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
    tokenizer.add_special_tokens(
        [AddedToken("<mask>", lstrip=True, special=True), AddedToken("<x>", rstrip=True, special=True)]
    )
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
    tokenizer.add_tokens(
        [AddedToken("  ", normalized=True), AddedToken("   ", normalized=True), AddedToken("\n\n"), "lo w"]
    )
    tokenizer.add_special_tokens(["<|user|>", "<|userx|>", "<|"])
    return tokenizer


def shown(normalizer: normalizers.Normalizer | None, *steps: pre_tokenizers.PreTokenizer) -> Tokenizer:
    """Returns one that shows every byte of a normalized text, and a space before each word of `steps`."""
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
