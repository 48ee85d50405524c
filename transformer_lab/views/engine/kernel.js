// The memory that a model and its activations live in, and the products over it: in WebAssembly where the
// page may use it, else in JavaScript.

// kernel.c, compiled as it says there.
const BINARY =
  "AGFzbQEAAAABJgRgB39/f39/f38AYAh/f39/f39/fwBgBH9/f38AYAZ/f39/f38AAg8BA2VudgZtZW1vcnkCAAEDBQQAAQIDBAUBcAEBAQYIAX8BQYDA" +
  "AAsHIAQGbGluZWFyAAAHbGluZWFyOAABA21hcAACA3ppcAADCqRABLAUBDl/C3sBfwN9I4CAgIAAQSBrIQcCQCAEQQFIDQAgBkEBSA0AIAVBA2whCCAF" +
  "QQF0IQkgBkECdCEKIAZBBXQhCyAGQQR0IQwgBSAFQXxxIg1rIQ4gBUEDdCEPIAVBBHQhECADIAZBGGxqIREgAyAGQQN0IhJqIRMgACANQQJ0IhRqIRUg" +
  "ASAUaiEWIAdBEGpBBHIhFyAHQRBqQRhqIRggB0EQakEIciEZIAMhGkEAIRsgBCEcQQAhHUEAIR4DQCAEIB1BAnRrIhRBBCAUQQRIGyIfIB5qISAgFSAF" +
  "QQAgBCAeayIhQQQgIUEESBsiIkEBShtBAnQiFGohIyAVIAlBACAiQQJKG0ECdCIkaiElIBUgCEEAICJBA0obQQJ0IiZqIScgACAUaiEoIAAgJGohKSAA" +
  "ICZqISogH0F+aiIrQXxxIixBAnIhLSArQQNLIAZBAUZxIS4gH0F6aiIvQQJ2QQFqQQFxITAgHkECciExIAMgHiAGbEECdGohMiAcQQQgHEEESBsiM0F/" +
  "aiE0IDNBfmpBfHEhNSAzQXpqQQJ2QQFqQf7///8HcSE2IBohNyARITggGyE5IBMhOiAWITsgASE8QQAhPQNAIAVBACA9QQFyIj4gBkgbIT8CQAJAIA1B" +
  "AU4NAP0MAAAAAAAAAAAAAAAAAAAAACJAIUEgQCFCIEAhQyBAIUQgQCFFIEAhRiBAIUcMAQsgPCA/QQJ0aiEmQQAhFP0MAAAAAAAAAAAAAAAAAAAAACJH" +
  "IUZBACEkIEchRSBHIUQgRyFDIEchQiBHIUEgRyFAA0AgRSAmIBRq/QAAACJIICogFGr9AAAAIkn95gH95AEhRSBBIDwgFGr9AAAAIkogSf3mAf3kASFB" +
  "IEQgSCApIBRq/QAAACJJ/eYB/eQBIUQgQCBKIEn95gH95AEhQCBDIEggKCAUav0AAAAiSf3mAf3kASFDIEYgSiBJ/eYB/eQBIUYgQiBIIAAgFGr9AAAA" +
  "Ikn95gH95AEhQiBHIEogSf3mAf3kASFHIBRBEGohFCAkQQRqIiQgDUgNAAsLIEIgQ/0NDA0ODxwdHh8AAAAAAAAAACBE/Q0AAQIDBAUGBxwdHh8AAAAA" +
  "IEX9DQABAgMEBQYHCAkKCxwdHh8gQiBD/Q0ICQoLGBkaGwAAAAAAAAAAIET9DQABAgMEBQYHGBkaGwAAAAAgRf0NAAECAwQFBgcICQoLGBkaGyBCIEP9" +
  "DQABAgMQERITAAAAAAAAAAAgRP0NAAECAwQFBgcQERITAAAAACBF/Q0AAQIDBAUGBwgJCgsQERITIEIgQ/0NBAUGBxQVFhcAAAAAAAAAACBE/Q0AAQID" +
  "BAUGBxQVFhcAAAAAIEX9DQABAgMEBQYHCAkKCxQVFhf95AH95AH95AEhSiBHIEb9DQwNDg8cHR4fAAAAAAAAAAAgQP0NAAECAwQFBgccHR4fAAAAACBB" +
  "/Q0AAQIDBAUGBwgJCgscHR4fIEcgRv0NCAkKCxgZGhsAAAAAAAAAACBA/Q0AAQIDBAUGBxgZGhsAAAAAIEH9DQABAgMEBQYHCAkKCxgZGhsgRyBG/Q0A" +
  "AQIDEBESEwAAAAAAAAAAIED9DQABAgMEBQYHEBESEwAAAAAgQf0NAAECAwQFBgcICQoLEBESEyBHIEb9DQQFBgcUFRYXAAAAAAAAAAAgQP0NAAECAwQF" +
  "BgcUFRYXAAAAACBB/Q0AAQIDBAUGBwgJCgsUFRYX/eQB/eQB/eQBIUgCQCANIAVODQAgOyA/QQJ0aiEmQQAhFCAOISQDQCAVIBRq/QkCACAjIBRqKgIA" +
  "/SABICUgFGoqAgD9IAIgJyAUaioCAP0gAyJHICYgFGr9CQIA/eYBIkAgSiJB/eQBIUogRyA7IBRq/QkCAP3mASJHIEgiQv3kASFIIBRBBGohFCAkQX9q" +
  "IiQNAAsgRyBC/eQBIUggQCBB/eQBIUoLIAcgSv0LBAAgByBI/QsEEAJAICFBAUgNACACID1BAnQiFGohPyACID5BAnRqIUsgSP0fACFMAkAgPiAGTg0A" +
  "IAchJCA3IRQgNCEmIBchPgNAQwAAAAAhTUMAAAAAIU4CQCACRQ0AID8qAgAhTgsgFCBMIE6SOAIAICQqAgAhTgJAIAJFDQAgSyoCACFNCyAUQQRqIE4g" +
  "TZI4AgAgJkUNAiAUIApqIRQgJkF/aiEmICRBBGohJCA+KgIAIUwgPkEEaiE+DAALCwJAIAJFDQAgMiAUaiBMID8qAgCSOAIAICJBAUYNASAyID0gBmpB" +
  "AnRqIEj9HwEgPyoCAJI4AgAgIkECRg0BQQIhFAJAIC5FDQACQCADIDEgPWpBAnRqIEtPDQAgPyADICAgPWpBAnRqSQ0BCyA//QkCACFIIDUhJiA6IRQg" +
  "GSEkA0AgFCAk/QADACBI/eQB/QsCACAUIAxqIRQgJEEQaiEkICZBfGoiJg0ACyAtIRQgKyAsRg0CCyAUQQFqISQCQCAfIBRrQQFxRQ0AIDIgFCAGbCA9" +
  "akECdGogB0EQaiAUQQJ0aioCACA/KgIAkjgCACAkIRQLIB8gJEYNASAzIBRrISYgOSAKIBRsaiE+IDkgCiAUQQFqbGohSyAHQRBqIBRBAnRqIRQgAyEk" +
  "A0AgJCA+aiAUKgIAID8qAgCSOAIAICQgS2ogFEEEaioCACA/KgIAkjgCACAkIBJqISQgFEEIaiEUICZBfmoiJg0ADAILCyAyIBRqIExDAAAAAJI4AgAg" +
  "IkEBRg0AIDIgPSAGakECdGogSP0fAUMAAAAAkjgCACAiQQJGDQBBAiEUAkAgLkUNAEEAISYCQCAvQQRJDQBBACEUIDYhPiAYISRBACEmA0AgOiAUaiAk" +
  "QXBq/QADAP0MAAAAAAAAAAAAAAAAAAAAACJI/eQB/QsCACA4IBRqICT9AAMAIEj95AH9CwIAICRBIGohJCAUIAtqIRQgJkEIaiEmID5BfmoiPg0ACwsC" +
  "QCAwRQ0AIDIgJkECciIUIAZsID1qQQJ0aiAHQRBqIBRBAnRq/QADAP0MAAAAAAAAAAAAAAAAAAAAAP3kAf0LAgALIC0hFCArICxGDQELIBRBAWohJAJA" +
  "IB8gFGtBAXFFDQAgMiAUIAZsID1qQQJ0aiAHQRBqIBRBAnRqKgIAQwAAAACSOAIAICQhFAsgHyAkRg0AIDMgFGshJiA5IAogFGxqIT4gOSAKIBRBAWps" +
  "aiE/IAdBEGogFEECdGohFCADISQDQCAkID5qIBQqAgBDAAAAAJI4AgAgJCA/aiAUQQRqKgIAQwAAAACSOAIAICQgEmohJCAUQQhqIRQgJkF+aiImDQAL" +
  "CyA3QQhqITcgOEEIaiE4IDlBCGohOSA6QQhqITogOyAPaiE7IDwgD2ohPCA9QQJqIj0gBkgNAAsgGiAMaiEaIBEgDGohESAbIAxqIRsgHEF8aiEcIBMg" +
  "DGohEyAVIBBqIRUgACAQaiEAIB1BAWohHSAeQQRqIh4gBEgNAAsLC9kNBh5/BHsCfwR7AX0CfyOAgICAAEEQayEIAkAgBUEBSA0AIAdBAUgNACAGQQNs" +
  "IQkgBkEBdCEKIAdBBHQhCyAGQQR0IQwgBCAHQQN0Ig1qIQ4gBCAHQQJ0aiEPIAAgBkFwcSIQQQJ0aiERIAhBBHIhEkEAIRMgBSEUQQAhFQNAIAUgE0EC" +
  "dGsiFkEEIBZBBEgbIhZBASAWQQFKGyIXQX9qQQFxIRggBkEAIAUgFWsiGUEEIBlBBEgbIhZBAUobQQJ0IRogCkEAIBZBAkobQQJ0IRsgCUEAIBZBA0ob" +
  "QQJ0IRwgFEEEIBRBBEgbIh1BASAdQQFKGyIeQX9qIhZBAXEhHyAWQX5xISAgFSAHbCEhIA4hIiAPISMgASEkQQAhJQNAAkACQCAQQQFODQD9DAAAAAAA" +
  "AAAAAAAAAAAAAAAiJiEnICYhKCAmISkMAQtBACEqIAAhFv0MAAAAAAAAAAAAAAAAAAAAACIpISggKSEnICkhJgNAICkgFiAcaiIr/QAAACAkICpq/QAA" +
  "ACIs/YcBIi39GACy/RMgLf0YAbL9IAEgLf0YArL9IAIgLf0YA7L9IAMiLv3mAf3kASArQRBq/QAAACAt/RgEsv0TIC39GAWy/SABIC39GAay/SACIC39" +
  "GAey/SADIi/95gH95AEgK0Egav0AAAAgLP2IASIt/RgAsv0TIC39GAGy/SABIC39GAKy/SACIC39GAOy/SADIiz95gH95AEgK0Ewav0AAAAgLf0YBLL9" +
  "EyAt/RgFsv0gASAt/RgGsv0gAiAt/RgHsv0gAyIt/eYB/eQBISkgKCAWIBtqIiv9AAAAIC795gH95AEgK0EQav0AAAAgL/3mAf3kASArQSBq/QAAACAs" +
  "/eYB/eQBICtBMGr9AAAAIC395gH95AEhKCAnIBYgGmoiK/0AAAAgLv3mAf3kASArQRBq/QAAACAv/eYB/eQBICtBIGr9AAAAICz95gH95AEgK0Ewav0A" +
  "AAAgLf3mAf3kASEnICYgFv0AAAAgLv3mAf3kASAWQRBq/QAAACAv/eYB/eQBIBZBIGr9AAAAICz95gH95AEgFkEwav0AAAAgLf3mAf3kASEmIBZBwABq" +
  "IRYgKkEQaiIqIBBIDQALCyAmICf9DQwNDg8cHR4fAAAAAAAAAAAgKP0NAAECAwQFBgccHR4fAAAAACAp/Q0AAQIDBAUGBwgJCgscHR4fICYgJ/0NCAkK" +
  "CxgZGhsAAAAAAAAAACAo/Q0AAQIDBAUGBxgZGhsAAAAAICn9DQABAgMEBQYHCAkKCxgZGhsgJiAn/Q0AAQIDEBESEwAAAAAAAAAAICj9DQABAgMEBQYH" +
  "EBESEwAAAAAgKf0NAAECAwQFBgcICQoLEBESEyAmICf9DQQFBgcUFRYXAAAAAAAAAAAgKP0NAAECAwQFBgcUFRYXAAAAACAp/Q0AAQIDBAUGBwgJCgsU" +
  "FRYX/eQB/eQB/eQBIS0gESEWIBAhKwJAIBAgBk4NAANAIBb9CQIAIBYgGmoqAgD9IAEgFiAbaioCAP0gAiAWIBxqKgIA/SADICQgK2osAACy/RP95gEi" +
  "LiAtIi/95AEhLSAWQQRqIRYgBiArQQFqIitHDQALIC4gL/3kASEtCyAIIC39CwQAAkAgGUEBSA0AIAIgJUECdCIWaiIqKgIAITACQCADRQ0AIAQgISAl" +
  "akECdGogLf0fACAwlCADIBZqIjEqAgCSOAIAIB1BAkgNAUEBIRYCQCAXQQJGDQBBACEWIBIhK0EAITIDQCAjIBZqICsqAgAgKioCAJQgMSoCAJI4AgAg" +
  "IiAWaiArQQRqKgIAICoqAgCUIDEqAgCSOAIAIBYgDWohFiArQQhqISsgICAyQQJqIjJHDQALIDJBAWohFgsgGEUNASAEIBYgFWogB2wgJWpBAnRqIAgg" +
  "FkECdGoqAgAgKioCAJQgMSoCAJI4AgAMAQsgBCAhICVqQQJ0aiAt/R8AIDCUQwAAAACSOAIAIB1BAkgNAEEBIRYCQCAeQQJGDQBBACEWIBIhK0EAITED" +
  "QCAjIBZqICsqAgAgKioCAJRDAAAAAJI4AgAgIiAWaiArQQRqKgIAICoqAgCUQwAAAACSOAIAIBYgDWohFiArQQhqISsgICAxQQJqIjFHDQALIDFBAWoh" +
  "FgsgH0UNACAEIBYgFWogB2wgJWpBAnRqIAggFkECdGoqAgAgKioCAJRDAAAAAJI4AgALICJBBGohIiAjQQRqISMgJCAGaiEkICVBAWoiJSAHRw0ACyAO" +
  "IAtqIQ4gDyALaiEPIBEgDGohESAAIAxqIQAgE0EBaiETIBRBfGohFCAVQQRqIhUgBUgNAAsLC9UVAgF/BXsCQCADQQFIDQBBACEEA0AgAf0AAAAhBQJA" +
  "AkACQAJAAkACQAJAAkACQAJAIAAOCAABAgMEBQYHCAsgBf0Mcb2wQnG9sEJxvbBCcb2wQv3oAf0M9qiuwvaorsL2qK7C9qiuwv3pASIF/Qw7qrg/O6q4" +
  "PzuquD87qrg//eYB/WoiBv0Mg4BeOYOAXjmDgF45g4BeOf3mASAFIAb9DACAMb8AgDG/AIAxvwCAMb/95gH95AH95AEiBSAFIAUgBSAFIAUgBSAF/Qxn" +
  "aVA5Z2lQOWdpUDlnaVA5/eYB/QzOQ7c6zkO3Os5DtzrOQ7c6/eQB/eYB/QwIiQg8CIkIPAiJCDwIiQg8/eQB/eYB/QzBqSo9wakqPcGpKj3BqSo9/eQB" +
  "/eYB/Qyqqio+qqoqPqqqKj6qqio+/eQB/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYB/eYB/eQB/QwAAIA/AACAPwAAgD8AAIA//eQBIAb9+AFBF/2r" +
  "Af0MAACAPwAAgD8AAIA/AACAP/2uAf3mASEFDAgL/QwAAIA/AACAPwAAgD8AAIA/IgYgBiAGIAX94QH9DHG9sEJxvbBCcb2wQnG9sEL96AH9DPaorsL2" +
  "qK7C9qiuwvaorsL96QEiBf0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgf9DIOAXjmDgF45g4BeOYOAXjn95gEgBSAH/QwAgDG/AIAxvwCAMb8AgDG//eYB" +
  "/eQB/eQBIgUgBSAFIAUgBSAFIAUgBf0MZ2lQOWdpUDlnaVA5Z2lQOf3mAf0MzkO3Os5DtzrOQ7c6zkO3Ov3kAf3mAf0MCIkIPAiJCDwIiQg8CIkIPP3k" +
  "Af3mAf0MwakqPcGpKj3BqSo9wakqPf3kAf3mAf0MqqoqPqqqKj6qqio+qqoqPv3kAf3mAf0MAAAAPwAAAD8AAAA/AAAAP/3kAf3mAf3mAf3kAf3kASAH" +
  "/fgBQRf9qwH9DAAAgD8AAIA/AACAPwAAgD/9rgH95gH95AH95wEhBQwHC/0MAACAPwAAgD8AAIA/AACAPyIG/QwAAABAAAAAQAAAAEAAAABAIAYgBiAF" +
  "IAX95AH9DHG9sEJxvbBCcb2wQnG9sEL96AH9DPaorsL2qK7C9qiuwvaorsL96QEiBf0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgf9DIOAXjmDgF45g4Be" +
  "OYOAXjn95gEgBSAH/QwAgDG/AIAxvwCAMb8AgDG//eYB/eQB/eQBIgUgBSAFIAUgBSAFIAUgBf0MZ2lQOWdpUDlnaVA5Z2lQOf3mAf0MzkO3Os5DtzrO" +
  "Q7c6zkO3Ov3kAf3mAf0MCIkIPAiJCDwIiQg8CIkIPP3kAf3mAf0MwakqPcGpKj3BqSo9wakqPf3kAf3mAf0MqqoqPqqqKj6qqio+qqoqPv3kAf3mAf0M" +
  "AAAAPwAAAD8AAAA/AAAAP/3kAf3mAf3mAf3kAf3kASAH/fgBQRf9qwH9DAAAgD8AAIA/AACAPwAAgD/9rgH95gH95AH95wH95QEhBQwGC/0MAACAPwAA" +
  "gD8AAIA/AACAPyIHIAcgByAF/eEB/QxxvbBCcb2wQnG9sEJxvbBC/egB/Qz2qK7C9qiuwvaorsL2qK7C/ekBIgb9DDuquD87qrg/O6q4PzuquD/95gH9" +
  "aiII/QyDgF45g4BeOYOAXjmDgF45/eYBIAYgCP0MAIAxvwCAMb8AgDG/AIAxv/3mAf3kAf3kASIGIAYgBiAGIAYgBiAGIAb9DGdpUDlnaVA5Z2lQOWdp" +
  "UDn95gH9DM5DtzrOQ7c6zkO3Os5Dtzr95AH95gH9DAiJCDwIiQg8CIkIPAiJCDz95AH95gH9DMGpKj3BqSo9wakqPcGpKj395AH95gH9DKqqKj6qqio+" +
  "qqoqPqqqKj795AH95gH9DAAAAD8AAAA/AAAAPwAAAD/95AH95gH95gH95AH95AEgCP34AUEX/asB/QwAAIA/AACAPwAAgD8AAIA//a4B/eYB/eQB/ecB" +
  "IAX95gEhBQwFCyAF/QwAAAA/AAAAPwAAAD8AAAA/Igj95gH9DAAAgD8AAIA/AACAPwAAgD8iBiAGIAYgBf0M8wQ1P/MENT/zBDU/8wQ1P/3mASIH/eAB" +
  "IAj95gH95AH95wEiBSAGIAUgBSAFIAUgBSAFIAUgBSAF/QxF+S4+RfkuPkX5Lj5F+S4+/eYB/QySeFK/knhSv5J4Ur+SeFK//eQB/eYB/Qywh74/sIe+" +
  "P7CHvj+wh74//eQB/eYB/QxdTpG/XU6Rv11Okb9dTpG//eQB/eYB/QzMx44+zMeOPszHjj7Mx44+/eQB/eYB/QxMwj6+TMI+vkzCPr5Mwj6+/eQB/eYB" +
  "/QzJNsY9yTbGPck2xj3JNsY9/eQB/eYB/Qz7iL8++4i/PvuIvz77iL8+/eQB/eYB/QzHAIA/xwCAP8cAgD/HAIA//eQB/eYBIAcgB/3mAf0MTvyhP078" +
  "oT9O/KE/TvyhP/3kAf3lAf0Mcb2wQnG9sEJxvbBCcb2wQv3oAf0M9qiuwvaorsL2qK7C9qiuwv3pASIF/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiCf0M" +
  "g4BeOYOAXjmDgF45g4BeOf3mASAFIAn9DACAMb8AgDG/AIAxvwCAMb/95gH95AH95AEiBSAFIAUgBSAFIAUgBSAF/QxnaVA5Z2lQOWdpUDlnaVA5/eYB" +
  "/QzOQ7c6zkO3Os5DtzrOQ7c6/eQB/eYB/QwIiQg8CIkIPAiJCDwIiQg8/eQB/eYB/QzBqSo9wakqPcGpKj3BqSo9/eQB/eYB/Qyqqio+qqoqPqqqKj6q" +
  "qio+/eQB/eYBIAj95AH95gH95gH95AH95AEgCf34AUEX/asB/QwAAIA/AACAPwAAgD8AAIA//a4B/eYB/eYB/eUBIgX94QEgBSAH/QwAAAAAAAAAAAAA" +
  "AAAAAAAA/UP9UiAG/eQB/eYBIQUMBAsgBf0MAAAAPwAAAD8AAAA/AAAAPyII/eYB/QwAAIA/AACAPwAAgD8AAIA/Igb9DAAAAEAAAABAAAAAQAAAAEAg" +
  "BiAGIAUgBf3mASAF/QwTJzc9Eyc3PRMnNz0TJzc9/eYB/eYBIAX95AH9DCpCTD8qQkw/KkJMPypCTD/95gEiBSAF/eQB/QxxvbBCcb2wQnG9sEJxvbBC" +
  "/egB/Qz2qK7C9qiuwvaorsL2qK7C/ekBIgX9DDuquD87qrg/O6q4PzuquD/95gH9aiIH/QyDgF45g4BeOYOAXjmDgF45/eYBIAUgB/0MAIAxvwCAMb8A" +
  "gDG/AIAxv/3mAf3kAf3kASIFIAUgBSAFIAUgBSAFIAX9DGdpUDlnaVA5Z2lQOWdpUDn95gH9DM5DtzrOQ7c6zkO3Os5Dtzr95AH95gH9DAiJCDwIiQg8" +
  "CIkIPAiJCDz95AH95gH9DMGpKj3BqSo9wakqPcGpKj395AH95gH9DKqqKj6qqio+qqoqPqqqKj795AH95gEgCP3kAf3mAf3mAf3kAf3kASAH/fgBQRf9" +
  "qwH9DAAAgD8AAIA/AACAPwAAgD/9rgH95gH95AH95wH95QEgBv3kAf3mASEFDAMLIAX94QEhBQwCCyAFIAX95gEhBQwBCyAF/QwAAAAAAAAAAAAAAAAA" +
  "AAAA/ekBIQULIAIgBf0LAAAgAkEQaiECIAFBEGohASAEQQRqIgQgA0gNAAsLC70IBAJ/AnsEfwJ9AkACQCAFQXxxIgZBAU4NAEEAIQcMAQsCQCADDQAg" +
  "Av0JAAAgCf0NAAECAwABAgMAAQIDAAECAyEIQQAhByABIQogBCELA0AgCv0AAAAhCQJAAkACQAJAAkAgAA4DAgEAAwsgCCAJ/eYBIQkMAwsgCSAI/eUB" +
  "IQkMAgsgCCAJ/eQBIQkMAQsgCSAI/ecBIQkLIAsgCf0LAAAgCkEQaiEKIAtBEGohCyAHQQRqIgcgBkgNAAwCCwsCQAJAAkACQAJAAkACQAJAAkACQCAA" +
  "DgMDAQACCyAGQX9qIgpBAnZBAWoiC0EBcSEMIApBA0cNBUEAIQcMBgsgBkF/aiIKQQJ2QQFqIgtBAXEhDCAKQQNHDQJBACEHDAMLIAZBf2oiCkECdkEB" +
  "aiILQQFxIQwgCkEDRw0FQQAhBwwGCyABIABBAnQiB2ohCiACIAdqIQsgBCAHaiENIAAhBwNAIA0gCv0AAAAgC/0AAAD95AH9CwAAIApBEGohCiALQRBq" +
  "IQsgDUEQaiENIAdBBGoiByAGSA0ADAcLCyALQf7///8HcSENQQAhByAEIQogAiELIAEhBgNAIAogBv0AAAAgC/0AAAD95QH9CwAAIApBEGogBkEQav0A" +
  "AAAgC0EQav0AAAD95QH9CwAAIApBIGohCiALQSBqIQsgBkEgaiEGIAdBCGohByANQX5qIg0NAAsLIAxFDQQgBCAHQQJ0IgpqIAEgCmr9AAAAIAIgCmr9" +
  "AAAA/eUB/QsAACAHQQRqIQcMBAsgC0H+////B3EhDUEAIQcgBCEKIAIhCyABIQYDQCAKIAb9AAAAIAv9AAAA/eYB/QsAACAKQRBqIAZBEGr9AAAAIAtB" +
  "EGr9AAAA/eYB/QsAACAKQSBqIQogC0EgaiELIAZBIGohBiAHQQhqIQcgDUF+aiINDQALCyAMRQ0CIAQgB0ECdCIKaiABIApq/QAAACACIApq/QAAAP3m" +
  "Af0LAAAgB0EEaiEHDAILIAtB/v///wdxIQ1BACEHIAQhCiACIQsgASEGA0AgCiAG/QAAACAL/QAAAP3nAf0LAAAgCkEQaiAGQRBq/QAAACALQRBq/QAA" +
  "AP3nAf0LAAAgCkEgaiEKIAtBIGohCyAGQSBqIQYgB0EIaiEHIA1BfmoiDQ0ACwsgDEUNACAEIAdBAnQiCmogASAKav0AAAAgAiAKav0AAAD95wH9CwAA" +
  "IAdBBGohBwsCQCAHIAVODQAgA0ECdCENIAUgB2shBiABIAdBAnQiC2ohCiAEIAtqIQsgAiAHIANsQQJ0aiEHA0AgByoCACEOIAoqAgAhDwJAAkACQAJA" +
  "AkAgAA4DAAECAwsgDyAOkiEODAMLIA8gDpMhDgwCCyAPIA6UIQ4MAQsgDyAOlSEOCyALIA44AgAgCkEEaiEKIAcgDWohByALQQRqIQsgBkF/aiIGDQAL" +
  "Cws=";

const PAGE = 65536;
const RESERVED = 4096; // numbers, for the stack of the compiled code
export const SCRATCH = RESERVED - 8; // a place for one number

/** @typedef {{linear: Function, linear8: Function, map?: Function, zip?: Function}} Products `map` and `zip` where they are compiled */

/** By number, as kernel.c has them. */
export const MAPS = { exp: 0, sigmoid: 1, tanh: 2, silu: 3, gelu: 4, gelu_tanh: 5, neg: 6, square: 7, relu: 8 };
export const ZIPS = { add: 0, sub: 1, mul: 2, div: 3 };

/** A heap of 32-bit numbers. Numbers are at places; freed places of a size are used again. */
export class NumberHeap {
  /** @param {boolean} [wasm] false: as where WebAssembly is refused */
  constructor(wasm = true) {
    /** @type {Products} */
    this.products = inScript(this);
    this.memory = wasm ? started(this) : null;
    /** @type {Float32Array} */
    this.f = new Float32Array(this.memory?.buffer ?? new ArrayBuffer(PAGE));
    this.end = RESERVED; // place 0 is "none"
    /** @type {Map<number, number[]>} by size */
    this.free = new Map();
  }

  /** Whether products run in WebAssembly. */
  get compiled() {
    return this.memory !== null;
  }

  /** @param {number} n of numbers @returns {number} the place of the first */
  take(n) {
    const size = (n + 15) & ~15;
    const again = this.free.get(size)?.pop();
    if (again !== undefined) return again;
    const at = this.end;
    this.end += size;
    if (this.end > this.f.length) this.#grow();
    return at;
  }

  /** @param {number} at @param {number} n */
  give(at, n) {
    const size = (n + 15) & ~15;
    const places = this.free.get(size);
    if (places) places.push(at);
    else this.free.set(size, [at]);
  }

  #grow() {
    const wanted = Math.ceil(Math.max(this.end * 4, this.f.byteLength * 1.25) / PAGE);
    try {
      if (this.memory) {
        this.memory.grow(wanted - this.f.byteLength / PAGE);
        this.f = new Float32Array(this.memory.buffer);
      } else {
        const more = new Float32Array((wanted * PAGE) / 4);
        more.set(this.f);
        this.f = more;
      }
    } catch {
      throw new Error(`this model needs ${Math.ceil((wanted * PAGE) / 2 ** 20)} MiB, more than this browser gives a page`);
    }
  }
}

/** The compiled products, on a memory of their own; null where WebAssembly is refused. @param {NumberHeap} heap */
function started(heap) {
  try {
    const binary = Uint8Array.from(atob(BINARY), (letter) => letter.charCodeAt(0));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary), { env: { memory } });
    const at = (place) => place * 4; // in bytes
    heap.products = {
      linear: (x, w, b, y, rows, dIn, dOut) => /** @type {Function} */ (exports.linear)(at(x), at(w), at(b), at(y), rows, dIn, dOut),
      linear8: (x, w, s, b, y, rows, dIn, dOut) => /** @type {Function} */ (exports.linear8)(at(x), at(w), at(s), at(b), at(y), rows, dIn, dOut),
      map: (what, x, y, n) => /** @type {Function} */ (exports.map)(what, at(x), at(y), n),
      zip: (what, a, b, step, y, n) => /** @type {Function} */ (exports.zip)(what, at(a), at(b), step, at(y), n),
    };
    return memory;
  } catch {
    return null;
  }
}

/** The same in JavaScript; x, w, b and y are places. @param {NumberHeap} heap @returns {Products} */
function inScript(heap) {
  const product = (x, weights, w, scale, b, y, rows, dIn, dOut) => {
    const { f } = heap;
    for (let o = 0; o < dOut; o++) {
      const first = w + o * dIn;
      for (let row = 0; row < rows; row++) {
        const start = x + row * dIn;
        let [s0, s1, s2, s3] = [0, 0, 0, 0];
        let k = 0;
        for (; k + 4 <= dIn; k += 4) {
          s0 += f[start + k] * weights[first + k];
          s1 += f[start + k + 1] * weights[first + k + 1];
          s2 += f[start + k + 2] * weights[first + k + 2];
          s3 += f[start + k + 3] * weights[first + k + 3];
        }
        for (; k < dIn; k++) s0 += f[start + k] * weights[first + k];
        f[y + row * dOut + o] = (s0 + s1 + s2 + s3) * (scale ? f[scale + o] : 1) + (b ? f[b + o] : 0);
      }
    }
  };
  return {
    linear: (x, w, b, y, rows, dIn, dOut) => product(x, heap.f, w, 0, b, y, rows, dIn, dOut),
    linear8: (x, w, s, b, y, rows, dIn, dOut) => product(x, new Int8Array(heap.f.buffer), w * 4, s, b, y, rows, dIn, dOut),
  };
}
