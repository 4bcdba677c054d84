/** Which kinds of tokenizers have the tokens of the tokenizers library here. */
export function checkSupported(_where: string, _document: unknown): void {}
