"""Rewrites all-MiniLM-L6-v2 (safetensors, vocab.txt, config.json in one folder) as a GGUF file for llama.cpp.

usage: minilm_to_gguf.py FOLDER OUT. Weights of matrices become F16; biases and norms stay F32.
"""

import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np

BLOCK = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}
TOP = {
    "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
}


def tensors(path):
    """Yields (name, float32 array) of a safetensors file."""
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        base = 8 + length
        for name, meta in header.items():
            if name == "__metadata__" or meta["dtype"] != "F32":
                continue
            begin, end = meta["data_offsets"]
            f.seek(base + begin)
            yield name, np.frombuffer(f.read(end - begin), dtype=np.float32).reshape(meta["shape"])


def gguf_name(name):
    """The GGUF name of a tensor, or None for those that are not used."""
    stem, _, kind = name.removeprefix("bert.").rpartition(".")
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    if stem.startswith("encoder.layer."):
        _, _, number, part = stem.split(".", 3)
        return f"blk.{number}.{BLOCK[part]}.{kind}"
    return None


def tokens(path):
    """Pieces as llama.cpp's WordPiece wants them: a word's beginning is marked, not its continuation."""
    for piece in Path(path).read_text(encoding="utf-8").splitlines():
        if piece.startswith("[") and piece.endswith("]"):
            control = piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
            yield piece, gguf.TokenType.CONTROL if control else gguf.TokenType.NORMAL
        elif piece.startswith("##"):
            yield piece[2:], gguf.TokenType.NORMAL
        else:
            yield "\u2581" + piece, gguf.TokenType.NORMAL


def main(folder, out):
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    pieces = list(tokens(folder / "vocab.txt"))
    index = {text: i for i, (text, _) in enumerate(pieces)}
    w = gguf.GGUFWriter(out, "bert")
    w.add_name("all-MiniLM-L6-v2")
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_head_count(config["num_attention_heads"])
    w.add_layer_norm_eps(config["layer_norm_eps"])
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("jina-v2-en")
    w.add_token_list([text for text, _ in pieces])
    w.add_token_types([kind for _, kind in pieces])
    w.add_token_type_count(config["type_vocab_size"])
    w.add_bos_token_id(index["[CLS]"])
    w.add_eos_token_id(index["[SEP]"])
    w.add_unk_token_id(index["[UNK]"])
    w.add_sep_token_id(index["[SEP]"])
    w.add_pad_token_id(index["[PAD]"])
    w.add_mask_token_id(index["[MASK]"])
    for name, array in tensors(folder / "model.safetensors"):
        target = gguf_name(name)
        if target is None:
            continue
        matrix = array.ndim == 2 and target.endswith(".weight") and target not in ("token_types.weight", "position_embd.weight")
        w.add_tensor(target, array.astype(np.float16) if matrix else array)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main(*sys.argv[1:])
