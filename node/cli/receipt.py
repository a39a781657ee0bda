"""`archipel receipt`: what holders signed, and whether they keep their word."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from node.cli.options import common_options, settings
from node.cli.output import note, progress_shown, show
from node.cli.refusals import refusal_fields, refusals_told
from node.cli.running import run_async
from node.cli.text import count_text, date_text
from node.client import open_client
from node.clock import SystemClock
from node.errors import IntegrityFailure, NotFoundError
from node.keeping.challenge import Answer, Challenged
from node.keeping.challenge import challenge as challenge_signers
from node.keeping.receiptfile import NewFile, Summary, convicted, new_file, promises_in, sum_up
from node.progress import Progress
from node.refusals import Refusals
from protocol.identity import Network
from protocol.ids import NetworkId, node_id
from protocol.receipts import EVIDENCE, DenialProof, Proof
from protocol.records import Receipt


@click.group()
@common_options
def receipt() -> None:
    """Receipts: who promised to keep which chunk until when, as `publish --receipt` wrote it.

    \b
    Example:
      archipel publish ~/Photos --receipt photos.receipts
      archipel receipt verify photos.receipts
      archipel receipt challenge photos.receipts -o lies
      archipel receipt verify photos.receipts --evidence lies
    """


@receipt.command()
@click.argument("file")
@click.option("--evidence", metavar="EVIDENCE", help="Check what `receipt challenge` wrote, too.")
@common_options
def verify(file: str, evidence: str | None) -> None:
    """Check every signature, id and hash in FILE, and count what it promises. Asks nobody.

    Exit code 6: something in FILE or EVIDENCE is not what it claims to be.

    \b
    Example:
      archipel receipt verify photos.receipts
    """
    network = Network(settings().config().network).id
    summary = sum_up(Path(file), network, SystemClock().wall())
    proofs = convicted(Path(file), Path(evidence), network) if evidence is not None else None
    fields: dict[str, object] = {} if proofs is None else {"proved": [_proof_fields(*found) for found in proofs]}
    show(_summary_text(summary) + _proofs_text(proofs), {**_summary_fields(summary), **fields})


def _summary_text(summary: Summary) -> str:
    counted = f"{count_text(summary.receipts, 'receipt')} of {count_text(len(summary.signers), 'holder')}"
    where = ", ".join(f"{country or '??'} {count}" for country, count in sorted(summary.countries.items()))
    lines = [
        f"{counted} for {summary.chunks} chunks of {count_text(summary.segments, 'segment')}: every signature is right",
        f"claimed countries: {where}",
        f"promised until {date_text(summary.first)}",
    ]
    if summary.last != summary.first:
        lines[-1] += f", the last until {date_text(summary.last)}"
    if summary.expired:
        lines.append(f"{count_text(summary.expired, 'receipt')} expired: nothing is promised there any more")
    if summary.shortened:
        lines.append(f"{count_text(summary.shortened, 'receipt')} for less time than was asked")
    return "\n".join(lines)


def _summary_fields(summary: Summary) -> dict[str, object]:
    return {
        "segments": summary.segments,
        "chunks": summary.chunks,
        "receipts": summary.receipts,
        "countries": dict(sorted(summary.countries.items())),
        "expires": summary.first,
        "last_expires": summary.last,
        "expired": summary.expired,
        "shortened": summary.shortened,
        "holders": [
            {
                "key": key.hex(),
                "node_id": node_id(key).hex(),
                "countries": sorted(signer.countries),
                "receipts": signer.receipts,
                "expires": signer.until,
            }
            for key, signer in sorted(summary.signers.items())
        ],
    }


def _proofs_text(proofs: list[tuple[Receipt, Proof]] | None) -> str:
    """A line for each."""
    return "".join(
        f"\nproved: node {node_id(found.key).hex()}, key {found.key.hex()} ({found.country or '??'}), signed "
        f"{'that it does not hold' if isinstance(proof, DenialProof) else 'a wrong answer about'} chunk {found.index} "
        f"of segment {found.segment.hex()}"
        for found, proof in proofs or ()
    )


def _proof_fields(found: Receipt, proof: Proof) -> dict[str, object]:
    return {
        "key": found.key.hex(),
        "node_id": node_id(found.key).hex(),
        "country": found.country or None,
        "segment": found.segment.hex(),
        "index": found.index,
        "chunk_id": found.chunk_id.hex(),
        "signed": found.time,
        "expires": found.expiry,
        "denied": isinstance(proof, DenialProof),
    }


@receipt.command()
@click.argument("file")
@click.option("-o", "--output", metavar="EVIDENCE", help="Write what proves wrong answers to a new file.")
@common_options
def challenge(file: str, output: str | None) -> None:
    """Ask every signer in FILE for one random block of each chunk that it promised to keep.

    Exit code 6: some answer was wrong. Exit code 3: none was, but some signers refused or gave none.

    \b
    Example:
      archipel receipt challenge photos.receipts -o lies
    """
    config = settings().config()
    network = Network(config.network).id
    path = Path(file)
    total = sum_up(path, network, SystemClock().wall()).bytes

    async def work(evidence: NewFile | None, progress: Progress) -> Challenged:
        async with open_client(config) as client:
            client.refusals = refusals
            return await challenge_signers(client, promises_in(path, network), evidence, progress)

    with refusals_told() as refusals, _evidence(output, network) as evidence:
        with progress_shown("challenging") as progress:
            progress.total = total
            result = run_async(partial(work, evidence, progress))
        written = evidence is not None and result.proofs > 0
        if evidence is not None and written:
            evidence.finish()
    _show_challenged(result, output if written else None, refusals)


@contextmanager
def _evidence(path: str | None, network: NetworkId) -> Iterator[NewFile | None]:
    if path is None:
        yield None
        return
    with new_file(Path(path), EVIDENCE, network) as file:
        yield file


def _show_challenged(result: Challenged, written: str | None, refusals: Refusals) -> None:
    answers = result.answers
    counts = {answer.value: answers[answer] for answer in Answer}
    wrong = answers[Answer.PROVED] + answers[Answer.WRONG]
    lines = [
        f"{count_text(sum(answers.values()), 'chunk')} asked for: {answers[Answer.RIGHT]} answered rightly, {wrong} "
        f"wrongly, {answers[Answer.DENIED]} denied, {answers[Answer.REFUSED]} refused, {answers[Answer.SILENT]} "
        f"without an answer"
    ]
    if answers[Answer.PROVED]:
        lines.append(f"{count_text(answers[Answer.PROVED], 'wrong answer')} signed: that is proof")
    if answers[Answer.DENIED]:
        lines.append(
            f"{count_text(answers[Answer.DENIED], 'denial')} signed: proof that it is not held there, but not of why"
        )
    if result.expired:
        lines.append(f"{count_text(result.expired, 'receipt')} expired: not asked")
    fields = {"expired": result.expired, "liars": len(result.liars), "evidence": written}
    show("\n".join(lines), {**counts, **fields, "refusals": refusal_fields(refusals)})
    if written:
        note(f"{count_text(result.proofs, 'proof')} in {written}")
    if wrong:
        hint = None if written or not result.liars else "-o EVIDENCE keeps what proves it"
        raise IntegrityFailure(f"{count_text(wrong, 'answer')} wrong", hint=hint)
    missing = answers[Answer.DENIED] + answers[Answer.REFUSED] + answers[Answer.SILENT]
    if missing:
        raise NotFoundError(
            f"{count_text(missing, 'chunk')} not shown by who signed for them",
            hint="archipel check LINK shows what is live",
        )
