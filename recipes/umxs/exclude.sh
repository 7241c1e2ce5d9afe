# Read by train.sh and free.sh. In four of the songs the bass sounds inside `other` or `drums`:
# only their voices and drums help.
exclude="
  --exclude eif-Hydrogen=bass,other
  --exclude eif-Potassium=bass,other
  --exclude eif-Rubidium=bass,other
  --exclude eif-Caesium=bass,other
"
