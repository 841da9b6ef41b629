"""All keys of all screens. Bindings, key bar, help and palette are made from it (``uses``)."""

from __future__ import annotations

from collections.abc import Iterator

from logbert_tui.keys.key import Key, Where

TITLES: dict[Where, str] = {
    "everywhere": "Everywhere",
    "picker": "Presets: start a run",
    "run": "Run: watch and steer",
    "logs": "Logs",
    "inference": "Inference",
    "session": "A session of the results",
    "help": "Help",
    "list": "In lists",
    "text": "In texts",
    "form": "In the form",
    "field": "In a field to type into",
    "choice": "On a choice",
    "stop": "At a question",
}

_VERDICTS = (
    ("N", "normal", "Judge it normal, and with it all sessions of the same events."),
    ("A", "anomaly", "Judge it an anomaly, and with it all sessions of the same events."),
    ("I", "ignore", "Ignore this session this once."),
    ("S", "suppress", "Be silent about sessions of the same events for a week."),
)


def _judging(where: Where) -> Iterator[Key]:
    """The keys that judge a session, which two screens have: first in the bar after those that score or turn over."""
    for place, (key, verdict, words) in enumerate(_VERDICTS, 15):
        yield Key(key, f"{where}.{verdict}", verdict, words, f"judge('{verdict}')", where, place, True)
    undo = "Take your last verdict back."
    yield Key("U", f"{where}.take_back", "undo", undo, "take_back_verdict", where, 19, True)


KEYS: tuple[Key, ...] = (
    # Everywhere
    Key("1", "go.picker", "presets", "Choose a preset and start a run.", "show('picker')", "everywhere"),
    Key("t,2", "go.run", "run", "Watch the run that is open.", "show('run')", "everywhere", bar=60),
    Key("l,3", "go.logs", "logs", "Read the run's logs.", "show('logs')", "everywhere", bar=50),
    Key(
        "i,4",
        "go.inference",
        "inference",
        "Score sessions with a checkpoint and see which are anomalous.",
        "show('inference')",
        "everywhere",
        bar=55,
    ),
    Key("question_mark,5", "go.help", "help", "Show this help.", "show('help')", "everywhere", bar=1),
    Key("escape", "back", "back", "Go back; dismiss a message first.", "back", "everywhere", bar=70),
    Key(
        "q",
        "detach",
        "detach",
        "Leave the console. Training and scoring go on; `logbert-tui RUN_DIR` comes back to them.",
        "detach",
        "everywhere",
        bar=2,
    ),
    # Presets
    Key("ctrl+s,f5", "picker.start", "start", "Start the run as shown.", "start", "picker", 10, True),
    Key("d", "picker.data", "data path", "Go to the data path.", "focus_field('data')", "picker", bar=20),
    Key(
        "o", "picker.options", "options", "Go to the options.", "focus_field('start_ratio')", "picker", bar=21
    ),
    Key(
        "v",
        "picker.runs",
        "recent runs",
        "Go to the recent runs; Enter opens one.",
        "recent",
        "picker",
        bar=22,
    ),
    Key(
        "x",
        "picker.fit",
        "make it fit",
        "Set what makes the preset fit this machine.",
        "fit",
        "picker",
        bar=11,
    ),
    Key(
        "m",
        "picker.measure",
        "measure",
        "Take 20 real steps of the preset on this machine, in place of the guess; again, or Esc, cancels.",
        "measure",
        "picker",
        24,
        True,
    ),
    Key(
        "e",
        "picker.figures",
        "figures",
        "Go to the preset's figures, to scroll.",
        "figures",
        "picker",
        bar=25,
    ),
    Key(
        "right_square_bracket",
        "picker.next_page",
        "run.yaml …",
        "The next page of the figures' pane: estimate, run.yaml, data, guide.",
        "turn(1)",
        "picker",
        bar=26,
    ),
    Key(
        "left_square_bracket",
        "picker.previous_page",
        "page before",
        "The page before of the figures' pane.",
        "turn(-1)",
        "picker",
    ),
    Key(
        "y,c", "picker.copy", "copy command", "Copy the command that does the same.", "copy", "picker", bar=23
    ),
    Key(
        "Y",
        "picker.copy_yaml",
        "copy run.yaml",
        "Copy the run.yaml that would run.",
        "copy_yaml",
        "picker",
        bar=27,
    ),
    # Run
    Key(
        "p",
        "run.pause",
        "pause",
        "Pause at the next step; the exact state is saved first.",
        "control('pause')",
        "run",
        10,
        True,
    ),
    Key("r", "run.resume", "resume", "Resume where the run stopped.", "control('resume')", "run", 11, True),
    Key(
        "R",
        "run.restart_stage",
        "restart stage",
        "Start the stage again from the last completed one.",
        "control('restart_stage')",
        "run",
        13,
        True,
    ),
    Key(
        "s",
        "run.stop",
        "stop",
        "Stop the run, after a question. Finished stages stay.",
        "control('stop')",
        "run",
        12,
        True,
    ),
    Key("y", "run.scale", "log scale", "Logarithmic or linear losses.", "scale", "run", bar=41),
    Key("z", "run.zoom", "zoom", "The curve of the whole run, or of the stage.", "zoom", "run", bar=42),
    Key("n", "run.new", "new run", "Choose a preset for another run.", "app.show('picker')", "run", bar=40),
    # Lists
    Key("j,down", "list.down", "down", "Next row.", "cursor_down", "list"),
    Key("k,up", "list.up", "up", "Previous row.", "cursor_up", "list"),
    Key("g,home", "list.first", "first", "First row.", "first", "list"),
    Key("G,end", "list.last", "last", "Last row.", "last", "list"),
    Key("pagedown", "list.page_down", "page down", "A page down.", "page_down", "list"),
    Key("pageup", "list.page_up", "page up", "A page up.", "page_up", "list"),
    Key("enter", "list.open", "open", "Take the row: choose the preset, open the run.", "select", "list"),
    # Logs
    Key(
        "slash",
        "logs.search",
        "search",
        "Search for a regular expression; Enter goes to it.",
        "search",
        "logs",
        10,
    ),
    Key("n", "logs.next_match", "next match", "Next line that matches.", "match(1)", "logs", bar=12),
    Key(
        "N", "logs.previous_match", "match above", "Previous line that matches.", "match(-1)", "logs", bar=15
    ),
    Key("e", "logs.next_trouble", "next warning", "Next warning or error.", "trouble(1)", "logs", bar=13),
    Key(
        "E",
        "logs.previous_trouble",
        "warning above",
        "Previous warning or error.",
        "trouble(-1)",
        "logs",
        bar=14,
    ),
    Key("f", "logs.follow", "follow", "Stay at the end as the log grows, or stop.", "follow", "logs", bar=11),
    Key(
        "left_square_bracket",
        "logs.previous_file",
        "log",
        "The previous log of the run.",
        "file(-1)",
        "logs",
        16,
    ),
    Key(
        "right_square_bracket",
        "logs.next_file",
        "next log",
        "The next log of the run.",
        "file(1)",
        "logs",
        17,
    ),
    Key("j,down", "logs.down", "down", "A line down.", "rows(1)", "logs"),
    Key("k,up", "logs.up", "up", "A line up; going up stops following.", "rows(-1)", "logs"),
    Key("pagedown,space", "logs.page_down", "page down", "A page down.", "pages(1)", "logs"),
    Key("pageup", "logs.page_up", "page up", "A page up.", "pages(-1)", "logs"),
    Key("g,home", "logs.first", "first", "To the beginning of the log.", "first", "logs"),
    Key("G,end", "logs.last", "last", "To the end of the log, and follow it.", "last", "logs"),
    Key("h,left", "logs.left", "left", "To the left in long lines.", "sideways(-1)", "logs"),
    Key("l,right", "logs.right", "right", "To the right in long lines.", "sideways(1)", "logs"),
    # Inference
    Key("ctrl+s,f5", "inference.start", "start", "Score as shown.", "start", "inference", 10, True),
    Key("c", "inference.cancel", "cancel", "Stop the inference that runs.", "cancel", "inference", 11, True),
    Key(
        "o", "inference.results", "open results", "Choose results to look at.", "results", "inference", bar=12
    ),
    Key("d", "inference.form", "form", "Go to the form.", "form", "inference", bar=21),
    Key("r", "inference.ranked", "ranked list", "Go to the ranked list.", "ranked", "inference"),
    *_judging("inference"),
    # A session
    Key("n,right_square_bracket", "session.next", "next", "The next session.", "step(1)", "session", 10),
    Key(
        "p,left_square_bracket",
        "session.previous",
        "previous",
        "The session before.",
        "step(-1)",
        "session",
        bar=11,
    ),
    Key(
        "e",
        "session.next_high",
        "next surprise",
        "The next surprising event.",
        "surprise(1)",
        "session",
        bar=31,
    ),
    Key(
        "E",
        "session.previous_high",
        "surprise above",
        "The surprising event before.",
        "surprise(-1)",
        "session",
        bar=32,
    ),
    Key(
        "b",
        "session.beside",
        "beside",
        "Lay the session beside the ordinary one that it is most like, and back.",
        "beside",
        "session",
        bar=30,
    ),
    Key("y", "session.copy", "copy id", "Copy the session id to the clipboard.", "copy", "session", bar=33),
    *_judging("session"),
    # Texts
    Key("j,down", "text.down", "down", "A line down.", "rows(1)", "text"),
    Key("k,up", "text.up", "up", "A line up.", "rows(-1)", "text"),
    Key("pagedown,space", "text.page_down", "page down", "A page down.", "pages(1)", "text"),
    Key("pageup", "text.page_up", "page up", "A page up.", "pages(-1)", "text"),
    Key("g,home", "text.first", "top", "To the top.", "edge(False)", "text"),
    Key("G,end", "text.last", "end", "To the end.", "edge(True)", "text"),
    # The form and its choices
    Key("down", "form.next", "next", "Next field, as Tab does.", "next_field", "form"),
    Key("up", "form.previous", "previous", "Field before.", "previous_field", "form"),
    Key("tab", "field.next", "next", "Next field.", "app.focus_next", "field", bar=20),
    Key(
        "escape",
        "field.leave",
        "leave field",
        "Leave the field; letters are keys of the screen again.",
        "app.back",
        "field",
        bar=21,
    ),
    Key("right,space", "choice.next", "next", "Next value.", "step(1)", "choice"),
    Key("left", "choice.previous", "previous", "Value before.", "step(-1)", "choice"),
    # The confirmation
    Key("y", "stop.yes", "yes", "Do it.", "answer(True)", "stop", 1, True),
    Key("n,escape", "stop.no", "no", "Leave the run as it is.", "answer(False)", "stop", bar=2),
)
