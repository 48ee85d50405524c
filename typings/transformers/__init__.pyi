# See typings/README.md.
from typing import Any

__version__: str
AttentionInterface: Any
AttentionMaskInterface: Any
AutoConfig: Any
AutoImageProcessor: Any
AutoModel: Any
AutoModelForCausalLM: Any
AutoModelForMaskedLM: Any
AutoModelForSeq2SeqLM: Any
AutoTokenizer: Any
BertConfig: Any
BertModel: Any
CONFIG_MAPPING: Any
Dinov2Config: Any
Dinov2Model: Any
LlamaConfig: Any
LlamaForCausalLM: Any
PreTrainedTokenizerFast: Any
WhisperFeatureExtractor: Any
