#!/bin/sh
# transformers 5.24.0: a ViTMAE that is made from a configuration, to be trained from scratch, has no positions. Its sine and cosine tables, of
# encoder and decoder, are zeros and take no gradient: the encoder's is made only while the patches' projection has not been initialized, which by
# then it always is; the decoder's is made and then cleared. Nothing is told, and the loss falls nevertheless. Checkpoints bring their own tables.
#
# Seen: the largest number in either table is 0.0, before and after 20 steps; a picture with its patches shuffled has the same CLS token to 5e-07
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 venv/bin/python - <<'EOF'
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

torch.manual_seed(0)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
config = ViTMAEConfig(
    image_size=64,
    patch_size=16,
    norm_pix_loss=True,
    **sizes,
    **{f"decoder_{name}": size for name, size in sizes.items()},
)
model = ViTMAEForPreTraining(config)
tables = {"encoder": model.vit.embeddings.position_embeddings, "decoder": model.decoder.decoder_pos_embed}


def largest() -> dict[str, float]:
    return {name: float(table.abs().max()) for name, table in tables.items()}


print("largest number of the tables:", largest(), "learnt:", {name: table.requires_grad for name, table in tables.items()})
assert set(largest().values()) == {0.0}
assert not any(table.requires_grad for table in tables.values())

optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
images = torch.rand(8, 3, 64, 64)
losses = []
for _ in range(20):
    loss = model(images).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
print(f"loss of 20 steps: {losses[0]:.2f} to {losses[-1]:.2f}; the tables then:", largest())
assert losses[-1] < losses[0]
assert set(largest().values()) == {0.0}

encoder = model.vit.eval()
encoder.config.mask_ratio = encoder.embeddings.config.mask_ratio = 0.0
patches = images.reshape(8, 3, 4, 16, 4, 16).permute(0, 2, 4, 1, 3, 5).reshape(8, 16, 3, 16, 16)
shuffled = patches[:, torch.randperm(16)].reshape(8, 4, 4, 3, 16, 16).permute(0, 3, 1, 4, 2, 5).reshape(8, 3, 64, 64)
with torch.no_grad():
    before, after = (encoder(each).last_hidden_state[:, 0] for each in (images, shuffled))
difference = float((before - after).abs().max())
print(f"CLS of a picture and of the same with its patches shuffled: at most {difference:.0e} apart, of {float(before.abs().max()):.1f}")
assert difference < 1e-4
print("seen: nobody is told where a patch is")
EOF
