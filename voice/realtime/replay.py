"""What becomes of the audio when the connection to a provider is lost: what the next one is told of it, in which order.

What the client committed or cleared is done, whether the lost connection had confirmed it or not: where each of these
stands among the audio is known from when it went up (`input_buffer`).
"""

from voice.realtime.conversation import Conversation
from voice.realtime.event_ids import EventIds
from voice.realtime.events import Event, append_audio, dump
from voice.realtime.input_buffer import InputBuffer
from voice.realtime.session import Session


async def act_out(session: Session, buffer: InputBuffer) -> set[int]:
    """Do what the client asked of a connection that was lost before it confirmed that; behind how many pieces of audio
    there was a commit.
    """
    conversation = session.conversation
    commits = set() if buffer.detects_turns else {conversation.committed_frames}
    for sent in buffer.sent:
        if sent.kind == "commit":
            conversation.committed(sent.heard_chars)
            commits.add(conversation.committed_frames)
        else:
            conversation.cleared(sent.heard_chars)
            await session.emit({"type": "input_audio_buffer.cleared"})
    return commits


def audio_again(conversation: Conversation, buffer: InputBuffer, ids: EventIds, commits: set[int]) -> list[str]:
    """The audio that was not answered, heard anew by another connection, with the commits in their places."""
    buffer.connect()
    texts = []
    for number, frame in enumerate(conversation.take_unanswered(), start=1):
        conversation.heard(frame, buffer.heard_chars)
        buffer.append(append_audio(frame) or 0)
        texts.append(frame)
        if number in commits:
            commit: Event = {"type": "input_audio_buffer.commit"}
            commit["event_id"] = event_id = ids.of(commit)
            buffer.commit(event_id)
            texts.append(dump(commit))
    return texts


def ended_by_drop(response_id: str) -> Event:
    """What ends a response whose connection was lost."""
    error = {"type": "server_error", "code": "provider_dropped"}
    response = {
        "object": "realtime.response",
        "id": response_id,
        "status": "failed",
        "status_details": {"type": "failed", "error": error},
        "output": [],
    }
    return {"type": "response.done", "response": response}
