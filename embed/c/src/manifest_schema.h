/* The rules for edgeadapt.json and adapter.json, as schema.h reads them; docs/bundle-format.md has them in words. */
#ifndef EAI_MANIFEST_SCHEMA_H
#define EAI_MANIFEST_SCHEMA_H

#define EAI_FILES_RULE "<P{bytes:s;sha256:h;}>"
#define EAI_TENSORS_RULE "[{name:t;dtype:y;shape:[d];}]"

#define EAI_DECODER_RULE "{eos_ids:[s];positions:?c;chat:?{file:P;tokens:<ta>;};}"

#define EAI_ENCODER_DECODER_RULE \
    "{eos_ids:[s];positions:?c;start_ids:1[s];" \
    "rules:{repetition_penalty:p;no_repeat_ngram_size:s;min_length:s;min_new_tokens:s;forced_bos_token_id:?s;" \
    "forced_eos_token_ids:[s];suppress_tokens:[s];begin_suppress_tokens:[s];};" \
    "encoder:{file:P;inputs:" EAI_TENSORS_RULE ";outputs:" EAI_TENSORS_RULE ";positions:?c;};" \
    "speech:?{sampling_rate:c;samples:c;fft:c;hop:c;mels:c;languages:<ts>;tasks:<ts>;no_timestamps:s;};}"

#define EAI_MANIFEST_RULE \
    "{format:t;producer:t;task:t;model_type:t;fingerprint:F;" \
    "model:{file:P;neutrals:?P;precision:t;opset:c;onnxruntime:v;};" \
    "inputs:" EAI_TENSORS_RULE ";outputs:" EAI_TENSORS_RULE ";" \
    "slots:[{name:t;method:t;site:a;param:t;dtype:y;shape:[D];neutral:?*{shape:[c];fill:n;};}];" \
    "labels:?1[a];problem_type:?T;" \
    "tokenizer:?{file:P;max_length:c;padding_side:S;pad_id:s;pad_token:a;pad_type_id:s;mask_token:?a;};" \
    "image:?{height:c;width:c;resize:R;resample:f;crop:?2[c];rescale:n;mean:[n];std:[p];};" \
    "generation:?G" EAI_DECODER_RULE EAI_ENCODER_DECODER_RULE ";files:" EAI_FILES_RULE ";}"

#define EAI_ADAPTER_RULE \
    "{format:t;name:N;method:t;fingerprint:F;sites:<a<tK>>;labels:?1[a];problem_type:?T;source:o;" \
    "parity:?{reference:t;max_abs_error:n;effect:n;cosine:n;top1_agreement:?n;tolerance:n;};files:" EAI_FILES_RULE \
    ";}"

#endif
