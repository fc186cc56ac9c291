"""The `dure` command: which commands there are, and how they are listed."""

from __future__ import annotations

import click

from dure.cli import (
    access,
    agreement,
    airlock,
    assess,
    backup,
    data,
    doctor,
    fleet,
    follow,
    identity,
    jobs,
    ledger,
    lending,
    model,
    nation,
    new_key,
    outputs,
    oversight,
    packs,
    people,
    policy,
    proof,
    queue,
    reconcile,
    serve,
    sites,
    twin,
    verify,
    witness,
)

ledger.ledger.add_command(reconcile.reconcile)
for ledger_command in (proof.export, proof.prove, proof.check, proof.consistent, new_key.new_key):
    ledger.ledger.add_command(ledger_command)

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Jobs": (jobs.submit, follow.run, jobs.plan, queue.queue, queue.why, follow.logs, outputs.outputs, jobs.cancel),
    "Sharing": (sites.sites, fleet.nodes, fleet.shares, fleet.usage, lending.lending),
    "Data": (data.data, agreement.agreement),
    "Models": (model.model, model.tasks, assess.assess, packs.packs),
    "Proof": (verify.verify, ledger.ledger, witness.witness),
    "Oversight": (policy.policy, airlock.airlock, oversight.stop_order, oversight.proposal),
    "Planning": (twin.twin,),
    "Identity": (identity.login, identity.logout, identity.whoami),
    "Operation": (
        serve.up,
        nation.apply,
        access.account,
        access.token,
        access.secret,
        people.forget,
        backup.backup,
        backup.restore,
        doctor.doctor,
        serve.demo,
    ),
}


class Sectioned(click.Group):
    """A group whose help lists commands by what they are for."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per purpose."""
        width = max(len(name) for name in self.commands)
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{each.name:<{width}}", each.get_short_help_str(70)) for each in commands])


@click.group(
    cls=Sectioned,
    commands=[command for commands in SECTIONS.values() for command in commands],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="dure", message="dure %(version)s")
def main() -> None:
    """Share a nation's GPUs: submit jobs, see why they wait, run the platform, verify what it did.

    The server is found by DURE_URL (default http://127.0.0.1:7474); DURE_TOKEN, what `dure login` got, or the token
    in the state folder DURE_STATE (default .dure) says who you are.
    """


if __name__ == "__main__":
    main()
