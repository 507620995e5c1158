"""Starts the model server on each model and checks an answer that is known beforehand.

usage: try_models.py SERVER CHAT_MODEL EMBEDDING_MODEL TINY_MODEL. Exit status 1 and a sentence if one fails.
"""

import contextlib
import json
import math
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

READY_WITHIN_S = 60
ANSWER_WITHIN_S = 60
PARAPHRASES = [
    ("How do I reset my password?", "I forgot my login credentials, how can I get back in?"),
    ("The cat sleeps on the sofa.", "A kitten is napping on the couch."),
    ("The company's revenue grew last quarter.", "Sales of the firm rose in the past three months."),
    ("It will rain heavily tomorrow.", "Heavy showers are forecast for the next day."),
    ("She plays the violin in an orchestra.", "She is a string musician in a symphony."),
    ("The train to London was delayed.", "Our rail journey to the British capital ran late."),
    ("Vaccines protect children from disease.", "Immunisation keeps kids from getting ill."),
    ("The recipe needs two eggs and flour.", "You need flour and a couple of eggs to cook this dish."),
]
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy


def call(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with OPENER.open(request, timeout=ANSWER_WITHIN_S) as answer:
        return json.load(answer)


@contextlib.contextmanager
def served(server, model, *options):
    """The port of a server on this model, stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [server, "-m", model, "--host", "127.0.0.1", "--port", str(port), "--offline", *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            if process.poll() is not None:
                sys.exit(f"the model server ended with {process.returncode} on {model}")
            with contextlib.suppress(OSError, urllib.error.HTTPError):
                call(port, "/health")
                break
            if time.monotonic() > deadline:
                sys.exit(f"the model server was not ready within {READY_WITHIN_S} s on {model}")
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


# The same weights round differently on another processor, and a model this small then words its answers
# differently: one of several ways to ask must do.
CAPITAL_QUESTIONS = ("What is the capital of France?", "Which city is the capital of France?",
                     "Name the capital city of France.")
SYSTEM = "You are a helpful assistant. Answer in one short sentence."


def answer(port, question, tokens, system=SYSTEM):
    body = {"messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
            "temperature": 0, "max_tokens": tokens}
    return call(port, "/v1/chat/completions", body)["choices"][0]["message"]["content"]


def try_chat(server, model):
    with served(server, model, "-t", "2", "-c", "2048") as port:
        texts = [answer(port, question, 24) for question in CAPITAL_QUESTIONS]
    if not any("Paris" in text for text in texts):
        sys.exit(f"the chat model answered {texts!r} where one should name Paris")


def try_embeddings(server, model):
    sentences = [sentence for pair in PARAPHRASES for sentence in pair]
    with served(server, model, "-t", "2", "--embedding", "--pooling", "mean") as port:
        vectors = [call(port, "/v1/embeddings", {"input": s})["data"][0]["embedding"] for s in sentences]
    for vector in vectors:
        length = math.sqrt(sum(x * x for x in vector))
        if len(vector) != 384 or abs(length - 1) > 1e-3:
            sys.exit(f"an embedding has {len(vector)} dimensions and length {length:.4f}; expected 384 and 1")
    for i, first in enumerate(vectors[0::2]):
        scores = [sum(a * b for a, b in zip(first, second)) for second in vectors[1::2]]
        nearest = scores.index(max(scores))
        if nearest != i:
            sys.exit(f"{PARAPHRASES[i][0]!r} is nearer to {PARAPHRASES[nearest][1]!r} than to its paraphrase")


def try_tiny(server, model):
    with served(server, model, "-t", "1", "-c", "512") as port:
        first, second = answer(port, "hello", 16), answer(port, "hello", 16)
    if not first or first != second or not first.isascii() or not first.isprintable():
        sys.exit(f"the tiny model answered {first!r}, then {second!r}; expected the same printable text twice")


def main(server, chat, embedding, tiny):
    try_chat(server, chat)
    try_embeddings(server, embedding)
    try_tiny(server, tiny)


main(*sys.argv[1:])
