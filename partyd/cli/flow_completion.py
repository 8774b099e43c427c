"""``flow completion``: the line that makes a shell complete flow's words."""

from __future__ import annotations

import click

from partyd.cli.flow_context import Flow, example, knows_daemon

LINES = {
    "bash": 'eval "$(_FLOW_COMPLETE=bash_source flow)"',
    "zsh": 'eval "$(_FLOW_COMPLETE=zsh_source flow)"',
    "fish": "_FLOW_COMPLETE=fish_source flow | source",
}


@click.command(
    epilog=example(
        'eval "$(flow completion bash)"     (for this shell; in ~/.bashrc for every one)',
        'eval "$(flow completion zsh)"      (in ~/.zshrc, after compinit)',
        "flow completion fish | source      (in ~/.config/fish/config.fish)",
    )
)
@click.argument("shell", type=click.Choice(list(LINES)))
@knows_daemon
def completion(flow: Flow, shell: str) -> None:
    """Print the line that makes a shell complete commands, options, files and the ids of the newest jobs."""
    flow.answer({"shell": shell, "line": LINES[shell]}, [LINES[shell]])
