"""A stand-in prompt for each task type, to open the playground with where no prompt of the organization's is kept."""

from collections.abc import Mapping

NEUTRAL: Mapping[str, str] = {
    "writing": "Write a short, friendly announcement: our office will be closed on Friday for a team day.",
    "rewriting": "Make this clearer and half as long: due to the fact that the meeting room is at present occupied, we "
    "would like to kindly ask everybody to move to the room which is located on the second floor.",
    "code-generation": "Write a Python function that merges two sorted lists into one, with a test for an empty list.",
    "math": "A train leaves at 9:40 and travels 210 km at 84 km/h. When does it arrive?",
    "reasoning": "Three people share a bill of $90. Ann pays twice as much as Ben, and Cy pays $10 more than Ben. How "
    "much does each pay?",
    "knowledge-qa": "Why is the sky blue during the day and red at sunset?",
    "tool-use": "Which steps, with which tools, would find the cheapest flight from Berlin to Lisbon next Friday?",
    "data-extraction": "Give name, date and amount as JSON: On 3 March we received $149.90 from Mara Lind for order 7.",
    "summarization": "Sum this up in one sentence: A ledger is a book in which every payment is written down once, in "
    "order, and never changed. What is wrong is put right by another line. So the balance can always be derived again.",
    "translation": "Translate into German: The train is late, but we will still be there before noon.",
    "roleplay": "You are a patient museum guide. A child asks you why dinosaurs died out.",
    "advice-planning": "Help me plan a two-day visit to Vienna with a small budget and rainy weather.",
    "vision": "Describe what is in this picture in two sentences.",
    "other": "Hello! In one sentence: what can you help me with?",
}


def stand_in(task: str) -> str:
    """A neutral prompt for this task type."""
    return NEUTRAL.get(task, NEUTRAL["other"])
