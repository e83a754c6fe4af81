"""Mail to people, through the SMTP server of whoever runs the program; encrypted unless told otherwise."""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from assay.model.errors import Unreachable

TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class MailServer:
    """An SMTP server: STARTTLS unless ``tls`` is off; ``password_file`` has the password of ``user`` in one line."""

    host: str
    port: int = 25
    tls: bool = True
    user: str | None = None
    password_file: str | None = None


def compose(sender: str, to: Sequence[str], subject: str, lines: Sequence[str]) -> EmailMessage:
    """A message of plain text."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, ", ".join(to), subject
    message.set_content("\n".join(lines) + "\n")
    return message


def send(server: MailServer, messages: Sequence[EmailMessage]) -> list[str]:
    """Hand ``messages`` over; returns the recipients whom the server does not take. Raises Unreachable."""
    refused: list[str] = []
    try:
        with smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S) as connection:
            if server.tls:
                connection.starttls(context=ssl.create_default_context())
            if server.user is not None:
                password = Path(server.password_file).read_text().strip() if server.password_file else ""
                connection.login(server.user, password)
            for message in messages:
                try:
                    refused += connection.send_message(message)
                except smtplib.SMTPRecipientsRefused as error:
                    refused += error.recipients
    except (smtplib.SMTPException, OSError) as error:
        raise Unreachable(
            "the mail could not be sent",
            subject=f"{server.host}:{server.port}",
            rule="mail-not-sent",
            found=f"{type(error).__name__}: {error}",
            next_step="check the [mail] table; nothing is lost, it is sent next time",
        ) from error
    return refused
