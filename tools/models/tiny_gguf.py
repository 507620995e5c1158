"""Writes a two-layer byte-level model of under 200 KB: no sense in its answers, but a real server on top of it.

usage: tiny_gguf.py OUT. For plumbing tests (ready in 0.02 s). The same bytes on every machine.
"""

import sys

import gguf
import numpy as np

WIDTH, HEADS, FEED_FORWARD, LAYERS, CONTEXT = 32, 2, 64, 2, 2048
BOS, EOS, FIRST_BYTE, VOCABULARY = 1, 2, 3, 259
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "


def random_numbers(seed):
    """A generator of our own (splitmix64), so that no library version can change the file."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        yield ((z ^ (z >> 31)) >> 40) / 2**23 - 1.0


def add_vocabulary(w):
    """Three control tokens and one token per byte; every text is spelled in bytes."""
    kind = gguf.TokenType
    w.add_tokenizer_model("llama")
    w.add_token_list(["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)])
    w.add_token_scores([0.0] * VOCABULARY)
    w.add_token_types([kind.UNKNOWN, kind.CONTROL, kind.CONTROL] + [kind.BYTE] * 256)
    w.add_bos_token_id(BOS)
    w.add_eos_token_id(EOS)
    w.add_unk_token_id(0)
    w.add_add_space_prefix(False)
    w.add_chat_template(TEMPLATE)


def main(out):
    numbers = random_numbers(2026)

    def matrix(rows, columns, scale):
        values = [next(numbers) * scale for _ in range(rows * columns)]
        return np.array(values, dtype=np.float32).reshape(rows, columns).astype(np.float16)

    w = gguf.GGUFWriter(out, "llama")
    w.add_name("tiny-test")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(WIDTH)
    w.add_feed_forward_length(FEED_FORWARD)
    w.add_block_count(LAYERS)
    w.add_head_count(HEADS)
    w.add_head_count_kv(HEADS)
    w.add_rope_dimension_count(WIDTH // HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(VOCABULARY)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_vocabulary(w)

    # Dimension 0 carries a constant through the layers; the output reads it to prefer printable ASCII,
    # because random bytes would be invalid UTF-8.
    embedding, output = matrix(VOCABULARY, WIDTH, 1.0), matrix(VOCABULARY, WIDTH, 0.5)
    embedding[:, 0] = 8.0
    output[:, 0] = -4.0
    output[FIRST_BYTE + 0x20 : FIRST_BYTE + 0x7F, 0] = 4.0
    w.add_tensor("token_embd.weight", embedding)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            w.add_tensor(f"{block}{name}.weight", matrix(WIDTH, WIDTH, 0.2))
        w.add_tensor(f"{block}ffn_gate.weight", matrix(FEED_FORWARD, WIDTH, 0.2))
        w.add_tensor(f"{block}ffn_up.weight", matrix(FEED_FORWARD, WIDTH, 0.2))
        w.add_tensor(f"{block}ffn_down.weight", matrix(WIDTH, FEED_FORWARD, 0.2))
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"{block}{name}.weight", np.ones(WIDTH, dtype=np.float32))
    w.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    w.add_tensor("output.weight", output)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main(*sys.argv[1:])
