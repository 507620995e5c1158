"""A run as a picture: who owned which partition when, what was done to the cluster, how long requests took."""

import contextlib
import html
import time

COLOURS = {"a": "#4269d0", "b": "#efb118", "c": "#3ca951"}
WIDTH, LEFT, ROW, TOP = 1200, 120, 18, 60
PLOT = 160  # height of the latencies' part


class Timeline:
    def __init__(self):
        self.began, self.spans, self.requests = time.time(), [], []

    @contextlib.contextmanager
    def span(self, text):
        began = time.time()
        yield
        self.spans.append((began, time.time(), text))

    def acknowledged(self, request):
        """Called just after an acknowledgement."""
        self.requests.append((time.time(), time.monotonic() - request.began))

    def draw(self, path, claims):
        """`claims`: {partition: [(unix time, node's name), …]} in order."""
        ends = max([t for t, _ in self.requests] + [e for _, e, _ in self.spans] + [self.began + 1])
        scale = (WIDTH - LEFT - 20) / (ends - self.began)

        def x(t):
            return LEFT + max(0.0, t - self.began) * scale

        rows = sorted(claims)
        bottom = TOP + ROW * len(rows)
        base = bottom + 40 + PLOT
        height = base + 60
        longest = max([s for _, s in self.requests] + [1.0])
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
               f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
        for number, (began, end, text) in enumerate(self.spans):
            out.append(f'<rect x="{x(began):.1f}" y="{TOP - 4}" width="{max(1.0, (end - began) * scale):.1f}" '
                       f'height="{base - TOP + 4}" fill="#ff725c" fill-opacity="0.13"/>')
            out.append(f'<text x="{x(began) + 2:.1f}" y="{TOP - 10 - 13 * (number % 3)}" fill="#b3402c">{html.escape(text)}</text>')
        for row, partition in enumerate(rows):
            y = TOP + row * ROW
            out.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">partition {partition}</text>')
            owned = [(t, n) for t, n in claims[partition]]
            for i, (t, node) in enumerate(owned):
                until = min(ends, owned[i + 1][0]) if i + 1 < len(owned) else ends
                if until > self.began and t < ends:
                    out.append(f'<rect x="{x(t):.1f}" y="{y}" width="{max(1.0, x(until) - x(t) - 1):.1f}" height="{ROW - 3}" '
                               f'fill="{COLOURS.get(node, "#999")}"/>')
        for i, (name, colour) in enumerate(COLOURS.items()):
            out.append(f'<rect x="{LEFT + i * 70}" y="{base + 34}" width="12" height="12" fill="{colour}"/>'
                       f'<text x="{LEFT + i * 70 + 16}" y="{base + 44}">node {name}</text>')
        out.append(f'<text x="{LEFT + 230}" y="{base + 44}">bars: owner by claims in the journal; dots: acknowledged requests, '
                   f'by their time; red: faults</text>')
        for share in (0, 0.5, 1):
            y = base - share * PLOT
            out.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y}" y2="{y}" stroke="#ddd"/>'
                       f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{share * longest:.1f} s</text>')
        for t, seconds in self.requests:
            out.append(f'<circle cx="{x(t):.1f}" cy="{base - seconds / longest * PLOT:.1f}" r="1.6" fill="#333" fill-opacity="0.45"/>')
        step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if (ends - self.began) / s <= 14)
        for n in range(int((ends - self.began) / step) + 1):
            out.append(f'<text x="{LEFT + n * step * scale:.1f}" y="{base + 16}" text-anchor="middle">{n * step} s</text>')
        out.append("</svg>")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(out) + "\n")
