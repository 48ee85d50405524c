from typing import Any

AutogradeApp: Any
GenerateFeedbackApp: Any
