/** Texts to try, for the adapters of the demonstration; a bundle with others has none. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  spam: [
    "URGENT! You have won a 900 pound prize. Call now to claim it.",
    "Running ten minutes late, order me a coffee?",
  ],
  intents: ["Put some Miles Davis on, the album from 1959.", "Will it snow in Trondheim tomorrow night?"],
  reviews: ["It stopped working after two days and nobody answers my mails.", "Easily the best headphones I have had."],
  tones: ["The cable is about a metre long.", "I love how quiet it is!"],
  banking: ["I have been waiting for my new card for two weeks now.", "Why was I charged twice at the same shop?"],
};

/** Returns texts that show what an adapter does. */
export function examples(adapter: string | null): readonly string[] {
  return (adapter !== null && EXAMPLES[adapter]) || [];
}
